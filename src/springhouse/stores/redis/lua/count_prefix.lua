-- Count what a purge of all keys that begin with a prefix would select; only so many keys at once.
--
-- KEYS[1]  base: the beginning of all names in a bucket
-- ARGV[1]  cursor: the last key of the call before; '' at first
-- ARGV[2]  most: how many keys to visit
-- ARGV[3]  from: where the prefix's range begins, for ZRANGEBYLEX
-- ARGV[4]  to: where it ends
-- then     key, variant and size of each entry that memories held: it is counted if it is not here
--
-- Returns how many keys, entries and bytes it came to, and the cursor to go on with; '' at the end.
--
-- With shared/counting.lua
local cursor, most, from, to = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
count_held(5, is_stored)
return counts(visit_range(from, to, cursor, most, count_variant, nothing))

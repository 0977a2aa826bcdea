-- Count what a purge of some labels would select.
--
-- KEYS[1]  base: the beginning of all names in a bucket
-- ARGV[1]  count: how many labels follow
-- ARGV[2…] labels
-- then     key, variant and size of each entry that memories held: it is counted if it is not here
--
-- Returns how many keys, entries and bytes it came to, and '': there is nothing to go on with.
--
-- With shared/counting.lua
local last = 1 + tonumber(ARGV[1])
count_held(last + 1, function(key, v) return is_labelled(key, v, 2, last) end)
visit_labelled(2, last, count_variant, nothing)
return counts('')

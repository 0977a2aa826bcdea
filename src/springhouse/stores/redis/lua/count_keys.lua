-- Count what a purge of some keys would select.
--
-- KEYS[1]  base: the beginning of all names in the keys' bucket
-- ARGV[1]  count: how many keys follow
-- ARGV[2…] keys
-- then     key, variant and size of each entry that memories held: it is counted if it is not here
--
-- Returns how many keys, entries and bytes it came to, and '': there is nothing to go on with.
--
-- With shared/counting.lua
local last = 1 + tonumber(ARGV[1])
count_held(last + 1, is_stored)
for i = 2, last do visit_key(ARGV[i], count_variant) end
return counts('')

-- Purge all variants of some keys.
--
-- KEYS[1]  base: the beginning of all names in the keys' bucket
-- ARGV[1]  number of the purge in the log
-- ARGV[2]  stale_from: since when a soft purge says that it is stale; '-' for a hard one
-- ARGV[3]  count: how many keys follow
-- ARGV[4…] keys
-- then     key, variant and size of each entry that memories held: it is counted if it is not here
--
-- Returns how many keys, entries and bytes it came to, and '': there is nothing to go on with.
--
-- With shared/purging.lua
local number, stale_from = ARGV[1], ARGV[2]
local last = 3 + tonumber(ARGV[3])
count_held(last + 1, is_stored)
for i = 4, last do fence('fences', 'k' .. ARGV[i], number) end
limit_fences(number)
local purge = purger(stale_from)
for i = 4, last do visit_key(ARGV[i], purge) end
return counts('')

-- Purge all variants that have one of some labels.
--
-- KEYS[1]  base: the beginning of all names in a bucket
-- ARGV[1]  number of the purge in the log
-- ARGV[2]  stale_from: since when a soft purge says that it is stale; '-' for a hard one
-- ARGV[3]  count: how many labels follow
-- ARGV[4…] labels
-- then     key, variant and size of each entry that memories held: it is counted if it is not here
--
-- Returns how many keys, entries and bytes it came to, and '': there is nothing to go on with.
--
-- With shared/purging.lua
local number, stale_from = ARGV[1], ARGV[2]
local last = 3 + tonumber(ARGV[3])
count_held(last + 1, function(key, v) return is_labelled(key, v, 4, last) end)
for i = 4, last do fence('fences', 'l' .. ARGV[i], number) end
limit_fences(number)
visit_labelled(4, last, purger(stale_from), function(name, member) call('ZREM', name, member) end)
return counts('')

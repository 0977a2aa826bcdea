-- Purge all keys that begin with a prefix; only so many at once.
--
-- KEYS[1]  base: the beginning of all names in a bucket
-- ARGV[1]  number of the purge in the log
-- ARGV[2]  stale_from: since when a soft purge says that it is stale; '-' for a hard one
-- ARGV[3]  cursor: the last key of the call before; '' at first
-- ARGV[4]  most: how many keys to visit
-- ARGV[5]  from: where the prefix's range begins, for ZRANGEBYLEX: '[' and the prefix, or '-' for all keys
-- ARGV[6]  to: where it ends
-- then     key, variant and size of each entry that memories held: it is counted if it is not here
--
-- Returns how many keys, entries and bytes it came to, and the cursor to go on with; '' at the end.
--
-- With shared/purging.lua
local number, stale_from, cursor, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local from, to = ARGV[5], ARGV[6]
local prefix = string.sub(from, 2)
count_held(7, is_stored)
if prefix == '' then fence('fences', '*', number) else fence('prefixes', prefix, number) end
limit_fences(number)

local function unlist_removed(key)
  if call('EXISTS', base .. 'e:' .. key) == 0 then unlist(key) end
end

return counts(visit_range(from, to, cursor, most, purger(stale_from), unlist_removed))

-- End a lease, and leave word for those that wait.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  name of the lease
-- ARGV[2]  token
-- ARGV[3]  outcome: 'done', 'transient_error', 'give_up'
-- ARGV[4]  outcome_ms: how long that can be read; '0': not at all, those that wait look up again
--
-- Returns when it ended, in microseconds, or '0' when it had lapsed.
--
-- With shared/values.lua
-- With shared/fences.lua
local name, token, outcome, outcome_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if call('GET', base .. 's:' .. name) ~= token then return '0' end
call('DEL', base .. 's:' .. name, base .. 'a:' .. name)
if outcome_ms ~= '0' then call('SET', base .. 'a:' .. name, outcome, 'PX', outcome_ms) end
local ended = num(math.max(tonumber(token), now))
call('SET', base .. 't:' .. name, ended, 'PX', FENCE_MS)
return ended

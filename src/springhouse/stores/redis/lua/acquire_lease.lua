-- Give a lease, unless somebody has it or has just had it.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  name of the lease
-- ARGV[2]  ttl: milliseconds until it lapses
-- ARGV[3]  looked_up_at: the server's time, in microseconds, of the lookup it is wanted after; '' without one
--
-- Returns 'lease' and its token; or 'waiting' and the token of whoever holds it; or, with '0', 'done' when one ended
-- since that lookup, 'give_up' when the key has proved not shareable.
--
-- With shared/leases.lua
-- With shared/fences.lua
local name, ttl, looked_up_at = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local outcome = call('GET', base .. 'a:' .. name)
if outcome == 'give_up' then return {outcome, '0'} end
local holder = holder_of(name)
if holder then return {'waiting', holder} end
local last = last_token(name)
if looked_up_at ~= '' and tonumber(looked_up_at) <= last and outcome ~= 'transient_error' then return {'done', '0'} end
local token = num(math.max(last + 1, now))
call('SET', base .. 's:' .. name, token, 'PX', num(ttl))
call('SET', base .. 't:' .. name, token, 'PX', FENCE_MS)
return {'lease', token}

-- Look whether a lease is still held, for a node that waits for it.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  name of the lease
-- ARGV[2]  token of the lease that is waited for; '0' for whichever is held now
--
-- Returns 'waiting' and its token while it is held; otherwise, with '0', 'transient_error' or 'done', or 'give_up' when
-- the key has proved not shareable.
--
-- With shared/leases.lua
local name, token = ARGV[1], ARGV[2]
local outcome = call('GET', base .. 'a:' .. name)
if outcome == 'give_up' then return {outcome, '0'} end
local holder = holder_of(name)
if holder and (token == '0' or token == holder) then return {'waiting', holder} end
return {outcome == 'transient_error' and outcome or 'done', '0'}

-- Let a lease last longer, if it has not lapsed.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  name of the lease
-- ARGV[2]  token
-- ARGV[3]  ttl: milliseconds until it lapses
--
-- Returns 1, or 0 when it had lapsed.
--
-- With shared/values.lua
local name, token, ttl = ARGV[1], ARGV[2], ARGV[3]
if call('GET', base .. 's:' .. name) ~= token then return 0 end
return call('PEXPIRE', base .. 's:' .. name, ttl)

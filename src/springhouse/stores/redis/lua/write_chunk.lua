-- Write a chunk of a body that no record refers to yet.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  body
-- ARGV[2]  number of the chunk, counted from 0
-- ARGV[3]  chunk: its bytes
-- ARGV[4]  ttl: milliseconds until the body expires if nothing follows
--
-- Returns 1.
--
-- With shared/values.lua
local body, number, chunk, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
call('HSET', base .. 'c:' .. body, number, chunk)
call('PEXPIRE', base .. 'c:' .. body, ttl)
return 1

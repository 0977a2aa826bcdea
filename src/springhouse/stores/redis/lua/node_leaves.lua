-- Let a node no longer count as alive.
--
-- KEYS[1]  base: the beginning of the log's names
-- ARGV[1]  node
--
-- Returns 1, or 0 when it did not count.
--
-- With shared/values.lua
local node = ARGV[1]
call('ZREM', base .. 'nodes', node)
return call('HDEL', base .. 'read', node)

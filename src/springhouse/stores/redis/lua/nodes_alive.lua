-- List the nodes that are alive.
--
-- KEYS[1]  base: the beginning of the log's names
--
-- Returns their names, each followed by the number of the last entry it has read.
--
-- With shared/values.lua
local found = {}
for _, node in ipairs(call('ZRANGEBYSCORE', base .. 'nodes', num(now_ms), '+inf')) do
  found[#found + 1] = node
  found[#found + 1] = num(whole(call('HGET', base .. 'read', node)) or 0)
end
return found

-- Record that a node is alive, and how far it has read the log.
--
-- KEYS[1]  base: the beginning of the log's names
-- ARGV[1]  node
-- ARGV[2]  number of the last entry it has read
-- ARGV[3]  alive_ms: how long it counts as alive
-- ARGV[4]  ttl: milliseconds that an idle log is kept
--
-- Returns the number of the log's last entry.
--
-- With shared/log.lua
local node, number, alive_ms, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ALIVE_MS_MAX = 60000  -- no node of ours counts as alive for longer than that
local known, last = whole(call('GET', base .. 'last')), last_of_log()
if not known then last = math.max(last + 1, now) end  -- so that nodes that had read the last one see that it was lost
if last ~= known then call('SET', base .. 'last', num(last)) end
for _, name in ipairs({'last', 'purges', 'nodes', 'read'}) do call('PEXPIRE', base .. name, num(ttl)) end
for _, range in ipairs({{'-inf', num(now_ms)}, {num(now_ms + ALIVE_MS_MAX), '+inf'}}) do
  for _, gone in ipairs(call('ZRANGEBYSCORE', base .. 'nodes', range[1], range[2])) do
    call('ZREM', base .. 'nodes', gone)
    call('HDEL', base .. 'read', gone)
  end
end
call('ZADD', base .. 'nodes', num(now_ms + alive_ms), node)
call('HSET', base .. 'read', node, number)
keep(base .. 'nodes', ttl)
keep(base .. 'read', ttl)
return num(last)

"""What happens inside Redis to the log of purges: scripts as those of `redis_scripts`, in the slot of the log.

purges    stream: the log              nodes    sorted set: the nodes, by until when they count as alive
last      the number of its last entry read     hash: up to which number each of them has read
"""

from typing import Final

from springhouse.stores.redis.link import Script
from springhouse.stores.redis.lua import TIME

_NODE_MS_MAX: Final = 60_000
"""No node counts as alive for longer than that without saying so again."""

_LOG = (
    TIME
    + """
local function last_of_log()
  local last = whole(call('GET', base .. 'last')) or 0
  local top = call('XREVRANGE', base .. 'purges', '+', '-', 'COUNT', 1)[1]
  local number = top and whole(string.match(top[1], '^%d+'))
  if top and not number then redis.call('UNLINK', base .. 'purges') end  -- nothing could be written behind that
  return math.max(last, number or 0)
end
"""
)

APPEND: Final = Script(
    _LOG
    + """
-- what, node, purge, most entries, ms that the log is kept. Numbers grow, even when Redis lost the last one.
local last = last_of_log()
local number = num(math.max(last + 1, now))
call('XADD', base .. 'purges', 'MAXLEN', ARGV[5], number .. '-0', 'before', num(last), 'what', ARGV[2],
  'node', ARGV[3], 'purge', ARGV[4])
call('SET', base .. 'last', number, 'PX', ARGV[6])
call('PEXPIRE', base .. 'purges', ARGV[6])
return number
"""
)

ALIVE: Final = Script(
    _LOG
    + f"""
local NODE_MS_MAX = {_NODE_MS_MAX}
"""
    + """
-- node, number it has read up to, ms that it counts as alive, ms that the log is kept. Returns the last number.
local known, last = whole(call('GET', base .. 'last')), last_of_log()
if not known then last = math.max(last + 1, now) end  -- who has read up to the last one is to know that it was lost
if last ~= known then call('SET', base .. 'last', num(last)) end
for _, name in ipairs({'last', 'purges', 'nodes', 'read'}) do call('PEXPIRE', base .. name, ARGV[5]) end
for _, range in ipairs({{'-inf', num(now_ms)}, {num(now_ms + NODE_MS_MAX), '+inf'}}) do
  for _, gone in ipairs(call('ZRANGEBYSCORE', base .. 'nodes', range[1], range[2])) do
    call('ZREM', base .. 'nodes', gone)
    call('HDEL', base .. 'read', gone)
  end
end
call('ZADD', base .. 'nodes', num(now_ms + ARGV[4]), ARGV[2])
call('HSET', base .. 'read', ARGV[2], ARGV[3])
keep(base .. 'nodes', tonumber(ARGV[5]))
keep(base .. 'read', tonumber(ARGV[5]))
return num(last)
"""
)

NODES: Final = Script(
    TIME
    + """
-- Returns the nodes that are alive, each followed by the number it has read up to.
local found = {}
for _, node in ipairs(call('ZRANGEBYSCORE', base .. 'nodes', num(now_ms), '+inf')) do
  found[#found + 1] = node
  found[#found + 1] = num(whole(call('HGET', base .. 'read', node)) or 0)
end
return found
"""
)

LEAVE: Final = Script(
    TIME
    + """
-- node.
call('ZREM', base .. 'nodes', ARGV[2])
return call('HDEL', base .. 'read', ARGV[2])
"""
)

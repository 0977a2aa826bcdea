"""What the scripts have in common: where and when they run, and that nothing they find is trusted.

A key of another type than it should have is removed (`call`), what is no number counts as none (`whole`), a lease that
would last longer than any of ours is none (`holder_of`).
"""

from typing import Final

NUMBER_MAX: Final = 2**53 - 1
_LEASE_MS_MAX: Final = 60_000

TIME: Final = (
    f"""
local NUMBER_MAX = '{NUMBER_MAX}'
"""
    + """
local base = ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local now_ms = math.floor(now / 1000)
local function num(n) return string.format('%.0f', n) end
local function whole(text)
  local n = tonumber(text or '')
  return n and n >= 0 and n <= tonumber(NUMBER_MAX) and math.floor(n) or nil
end
local function call(command, name, ...)
  local reply = redis.pcall(command, name, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('UNLINK', name) end
  return redis.call(command, name, ...)
end
local function keep(name, ms)
  if call('PTTL', name) < ms then call('PEXPIRE', name, num(ms)) end
end
"""
)

LEASES: Final = (
    TIME
    + f"""
local LEASE_MS_MAX = {_LEASE_MS_MAX}
"""
    + """
local function holder_of(lease)
  local name = base .. 's:' .. lease
  local token = whole(call('GET', name))
  if not token then return nil end
  local left = redis.call('PTTL', name)
  if left >= 0 and left <= LEASE_MS_MAX then return num(token) end
  redis.call('UNLINK', name)  -- none of ours lasts for ever
  return nil
end
local function last_token(lease) return whole(call('GET', base .. 't:' .. lease)) or 0 end
"""
)

-- Where and when a script runs, and how it reads what it does not trust: other programs may have written it.
--
-- `call` removes a key of the wrong type and goes on as if there were none; `whole` returns nil for what is not a
-- number. Times are the server's: `now` in microseconds, `now_ms` in milliseconds.
local NUMBER_MAX = '9007199254740991'  -- 2^53 - 1: doubles count exactly up to here
local base = KEYS[1]  -- what the names of all keys begin with that a script touches: its hash tag keeps them in a slot
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
local function keep(name, ms)  -- for at least so long: never shortens an expiry
  if call('PTTL', name) < ms then call('PEXPIRE', name, num(ms)) end
end

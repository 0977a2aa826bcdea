-- Which token holds a lease, and which was given last.
--
-- With shared/values.lua
local LEASE_MS_MAX = 60000
local function holder_of(lease)
  local name = base .. 's:' .. lease
  local token = whole(call('GET', name))
  if not token then return nil end
  local left = redis.call('PTTL', name)
  if left >= 0 and left <= LEASE_MS_MAX then return num(token) end
  redis.call('UNLINK', name)  -- all of ours expire within LEASE_MS_MAX: this is not one of them
  return nil
end
local function last_token(lease) return whole(call('GET', base .. 't:' .. lease)) or 0 end

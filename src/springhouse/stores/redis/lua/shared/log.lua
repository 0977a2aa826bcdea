-- The number of the log's last entry. It never falls, even when Redis has lost one of the two places that tell it.
--
-- With shared/values.lua
local function last_of_log()
  local last = whole(call('GET', base .. 'last')) or 0
  local top = call('XREVRANGE', base .. 'purges', '+', '-', 'COUNT', 1)[1]
  local number = top and whole(string.match(top[1], '^%d+'))
  if top and not number then redis.call('UNLINK', base .. 'purges') end  -- nothing could be appended behind that
  return math.max(last, number or 0)
end

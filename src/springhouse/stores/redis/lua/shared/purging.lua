-- The visitor that purges, and the fences that keep what was fetched before a purge from being stored after it.
--
-- With shared/selecting.lua
-- With shared/fences.lua
local FENCES_MAX, PREFIXES_MAX = 10000, 200

local function fence(set, name, number)
  local before = call('ZSCORE', base .. set, name)
  if not whole(before) or whole(before) < tonumber(number) then call('ZADD', base .. set, number, name) end
end

-- Forget the fences that are no longer needed. Too many of them become one against everything.
local function limit_fences(number)
  for set, limit in pairs({fences = FENCES_MAX, prefixes = PREFIXES_MAX}) do
    call('ZREMRANGEBYSCORE', base .. set, '-inf', num(now - FENCE_MS * 1000))
    if call('ZCARD', base .. set) > limit then
      call('DEL', base .. set)
      fence('fences', '*', number)
    end
    keep(base .. set, FENCE_MS)
  end
end

-- Return a visitor that removes variants, or marks them as stale from an instant on.
local function purger(stale_from)
  return function(key, v)
    local m = data_of(key, v)
    if not m or m.ends <= now_ms then
      remove(key, v)
      return false
    end
    entries, size = entries + 1, size + m.size
    if stale_from == '-' then
      remove(key, v)
    else
      if m.soft == '-' or tonumber(m.soft) > tonumber(stale_from) then m.soft = stale_from end
      write(key, v, m)
    end
    return true
  end
end

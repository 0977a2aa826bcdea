-- The visitor that counts what a purge would select, and changes nothing.
--
-- With shared/selecting.lua
local function nothing() end

local function count_variant(key, v)
  local m = data_of(key, v)
  if not m or m.ends <= now_ms then return false end
  entries, size = entries + 1, size + m.size
  return true
end

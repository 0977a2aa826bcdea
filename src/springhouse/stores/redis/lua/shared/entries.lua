-- The variants of a key, and how to read, write and remove one.
--
-- A variant's data are a line of text: when it expires, its size, when it was stored, the stamp of its response, its
-- body or '-', until when it is fresh, and since when a soft purge says that it is stale, or '-'. Data that cannot be
-- read are those of a variant that has expired.
--
-- With shared/values.lua
local function each(labels) return string.gmatch(labels or '', '[^\n]+') end
local function read(text)
  local ends, size, arrived, stamp, body, fresh, soft =
    string.match(text, '^(%d+) (%d+) (%d+) (%x+) ([%x-]+) (%S+) (%S+)$')
  local is_readable = ends and whole(ends) and whole(size) and whole(arrived) and tonumber(fresh)
  if not is_readable or (soft ~= '-' and not tonumber(soft)) then
    return {ends = 0, size = 0, arrived = 0, stamp = '0', body = body or '-', fresh = '0', soft = '-'}
  end
  return {ends = whole(ends), size = whole(size), arrived = whole(arrived), stamp = stamp, body = body, fresh = fresh,
    soft = soft}
end
local function data_of(key, v)
  local text = call('HGET', base .. 'e:' .. key, v .. ':m')
  return text and read(text) or nil
end
local function write(key, v, m)
  local text = table.concat({num(m.ends), num(m.size), num(m.arrived), m.stamp, m.body, m.fresh, m.soft}, ' ')
  call('HSET', base .. 'e:' .. key, v .. ':m', text)
end
local function variants_of(key)
  local found = {}
  for _, field in ipairs(call('HKEYS', base .. 'e:' .. key)) do
    if string.sub(field, -2) == ':m' then found[#found + 1] = string.sub(field, 1, -3) end
  end
  return found
end
local function unlist(key)
  call('ZREM', base .. 'names', key)
  call('ZREM', base .. 'ends', key)
end
local function remove(key, v, spared)  -- and its content, unless that is the spared body
  local entry = base .. 'e:' .. key
  local m = data_of(key, v)
  for label in each(call('HGET', entry, v .. ':l')) do call('ZREM', base .. 'l:' .. label, v .. key) end
  if m and m.body ~= '-' and m.body ~= spared then call('UNLINK', base .. 'c:' .. m.body) end
  call('HDEL', entry, v .. ':r', v .. ':m', v .. ':l', v .. ':b')
  if call('EXISTS', entry) == 0 then unlist(key) end
end

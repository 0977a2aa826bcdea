-- What may not be stored, and all that is written when it may.
--
-- With shared/entries.lua
-- With shared/leases.lua
-- With shared/fences.lua
local BODY_GRACE_MS = 60000

-- Return why a response must not be stored: 'old', 'purged', 'late'; nil when it may be.
local function refusal_of(key, labels, epoch, age, token, lease)
  local function is_fenced(name)
    local number = whole(call('ZSCORE', base .. 'fences', name))
    return number and number > tonumber(epoch)
  end
  if age > FENCE_MS then return 'old' end
  if is_fenced('*') or is_fenced('k' .. key) then return 'purged' end
  for label in each(labels) do
    if is_fenced('l' .. label) then return 'purged' end
  end
  for _, prefix in ipairs(call('ZRANGEBYSCORE', base .. 'prefixes', '(' .. epoch, NUMBER_MAX)) do
    if string.sub(key, 1, #prefix) == prefix then return 'purged' end
  end
  if token > 0 and last_token(lease) > token then return 'late' end
  return nil
end

-- Remove a key's variants if its index has been evicted: purges may have missed them.
local function remove_unlisted(key, spared)
  if call('ZSCORE', base .. 'names', key) then return end
  for _, v in ipairs(variants_of(key)) do remove(key, v, spared) end
end

local function list(key, v, labels, ttl)
  local left = call('PTTL', base .. 'e:' .. key)
  call('ZADD', base .. 'names', 0, key)
  call('ZADD', base .. 'ends', num(now_ms + left), key)
  keep(base .. 'names', left)
  keep(base .. 'ends', left)
  for label in each(labels) do
    local name = base .. 'l:' .. label
    call('ZADD', name, num(now_ms + ttl), v .. key)
    call('ZREMRANGEBYSCORE', name, '-inf', num(now_ms))
    keep(name, ttl)
  end
end

-- Write a variant in place of the one it supersedes. `m`: its data; `content`: '' if it has a body.
local function store(key, v, m, record, labels, content, ttl)
  local entry = base .. 'e:' .. key
  remove(key, v, m.body)
  call('HSET', entry, v .. ':r', record, v .. ':l', labels)
  write(key, v, m)
  if m.body == '-' then
    call('HSET', entry, v .. ':b', content)
  else
    call('PEXPIRE', base .. 'c:' .. m.body, num(ttl + BODY_GRACE_MS))  -- a lookup just before the end still reads it
  end
  keep(entry, ttl)
  list(key, v, labels, ttl)
end

-- Remove the oldest variants above the limit, and all that have expired.
local function limit_variants(key, most)
  local ages = {}
  for _, v in ipairs(variants_of(key)) do
    local m = data_of(key, v)
    if m.ends <= now_ms then remove(key, v) else ages[#ages + 1] = {m.arrived, v} end
  end
  table.sort(ages, function(a, b) return a[1] > b[1] end)
  for i = most + 1, #ages do remove(key, ages[i][2]) end
end

-- Unlist some of the keys that have expired meanwhile.
local function unlist_expired()
  for _, key in ipairs(call('ZRANGEBYSCORE', base .. 'ends', '-inf', num(now_ms), 'LIMIT', 0, 16)) do
    local left = call('PTTL', base .. 'e:' .. key)
    if left > 0 then call('ZADD', base .. 'ends', num(now_ms + left), key) else unlist(key) end
  end
end

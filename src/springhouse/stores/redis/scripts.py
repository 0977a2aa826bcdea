"""What happens inside Redis: Lua scripts, each of which changes one bucket at once (decision 0012).

ARGV[1] is what the names of all keys begin with that a script may touch; its hash tag keeps them in one slot of a
cluster. KEYS[1] only says where to run. Names behind that beginning:

    e:KEY     hash: for each variant v its record v:r, its data v:m, its labels v:l, and v:b, its content if small
    c:BODY    hash: content in chunks, 0, 1, 2, …
    names     sorted set: all keys, in the order of their bytes
    ends      sorted set: all keys, by when their hash expires
    l:LABEL   sorted set: variant and key of all that have the label, by when they expire
    fences    sorted set: what was purged lately, by the number of the purge; `prefixes` likewise
    s:NAME    the lease of who is fetching it; t:NAME the last token given, or when the last ended; a:NAME what those
              who wait are told. NAME: a key, followed by a variant if it is known to vary

Nothing that is found is trusted (`redis_lua`); a variant whose data cannot be read has expired.

A variant's data: when it expires, its size, when it was stored, the stamp of its response, its body, until when it is
fresh, and since when a soft purge says that it is stale. Every key has an expiry. Times are of the server:
milliseconds; numbers are microseconds.
"""

from typing import Final

from springhouse.stores.redis.link import Script
from springhouse.stores.redis.lua import LEASES, TIME

FENCE_MS: Final = 3_600_000
"""How long a purge is remembered against fills: what took longer to arrive is not stored."""
_FENCES_MAX: Final = 10_000
_PREFIXES_MAX: Final = 200

_ENTRIES = (
    LEASES
    + """
local function each(labels) return string.gmatch(labels or '', '[^\\n]+') end
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
local function is_marked(m) return m.soft ~= '-' and tonumber(m.soft) < tonumber(m.fresh) end
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
local function remove(key, v, spared)
  local entry = base .. 'e:' .. key
  local m = data_of(key, v)
  for label in each(call('HGET', entry, v .. ':l')) do call('ZREM', base .. 'l:' .. label, v .. key) end
  if m and m.body ~= '-' and m.body ~= spared then call('UNLINK', base .. 'c:' .. m.body) end
  call('HDEL', entry, v .. ':r', v .. ':m', v .. ':l', v .. ':b')
  if call('EXISTS', entry) == 0 then unlist(key) end
end
"""
)

LOOKUP: Final = Script(
    _ENTRIES
    + """
-- KEY. Returns what time it is, and then rows. A variant that its indexes do not know, for Redis has evicted them,
-- could not be purged: it is not found.
local key, fields = ARGV[2], {}
local found = {num(now)}
local got = call('HGETALL', base .. 'e:' .. key)
if #got == 0 then return found end
for i = 1, #got, 2 do fields[got[i]] = got[i + 1] end
if not call('ZSCORE', base .. 'names', key) then return found end
for field, text in pairs(fields) do
  if string.sub(field, -2) == ':m' then
    local v = string.sub(field, 1, -3)
    local m, known = read(text), true
    for label in each(fields[v .. ':l']) do
      known = known and call('ZSCORE', base .. 'l:' .. label, v .. key)
    end
    if known and m.ends > now_ms and fields[v .. ':r'] then
      found[#found + 1] = {v, num(m.arrived), m.body, m.soft, fields[v .. ':r'], fields[v .. ':b'] or '',
        fields[v .. ':l'] or ''}
    end
  end
end
return found
"""
)

PUT: Final = Script(
    _ENTRIES
    + f"""
local FENCE_MS = {FENCE_MS}
"""
    + """
-- KEY, mode, variant, record, size, stamp, ttl ms, labels, epoch, age ms, token, its NAME, most variants, until when
-- it is fresh, then for mode 'put': small content, body or '-', its chunks; for 'replace': the variant replaced, its
-- stamp, and until when it was thought to be fresh: a soft purge makes it another.
local key, mode, v, labels = ARGV[2], ARGV[3], ARGV[4], ARGV[9]
local epoch, ttl = tonumber(ARGV[10]), tonumber(ARGV[8])
local entry = base .. 'e:' .. key
local body, content, arrived = '-', '', now
if mode == 'put' then body, content = ARGV[17], ARGV[16] end
local function refuse(why)
  if mode == 'put' and body ~= '-' then call('UNLINK', base .. 'c:' .. body) end
  return why
end
local function is_fenced(name)
  local number = whole(call('ZSCORE', base .. 'fences', name))
  return number and number > epoch
end
if tonumber(ARGV[11]) > FENCE_MS then return refuse('old') end
if is_fenced('*') or is_fenced('k' .. key) then return refuse('purged') end
for label in each(labels) do
  if is_fenced('l' .. label) then return refuse('purged') end
end
for _, prefix in ipairs(call('ZRANGEBYSCORE', base .. 'prefixes', '(' .. ARGV[10], NUMBER_MAX)) do
  if string.sub(key, 1, #prefix) == prefix then return refuse('purged') end
end
local token = tonumber(ARGV[12])
if token > 0 and last_token(ARGV[13]) > token then return refuse('late') end
if not call('ZSCORE', base .. 'names', key) then  -- what its index does not know may have been purged
  for _, other in ipairs(variants_of(key)) do remove(key, other, body) end
end
if mode == 'replace' then
  local old = data_of(key, ARGV[16])
  if not old or old.stamp ~= ARGV[17] then return 'gone' end
  if is_marked(old) then old.fresh = old.soft end
  if old.fresh ~= ARGV[18] then return 'gone' end
  body, content, arrived = old.body, call('HGET', entry, ARGV[16] .. ':b') or '', old.arrived
  remove(key, ARGV[16], body)
elseif body ~= '-' and call('HLEN', base .. 'c:' .. body) ~= tonumber(ARGV[18]) then
  return refuse('gone')
end
remove(key, v, body)
call('HSET', entry, v .. ':r', ARGV[5], v .. ':l', labels)
write(key, v, {ends = now_ms + ttl, size = tonumber(ARGV[6]), arrived = arrived, stamp = ARGV[7], body = body,
  fresh = ARGV[15], soft = '-'})
if body == '-' then
  call('HSET', entry, v .. ':b', content)
else
  call('PEXPIRE', base .. 'c:' .. body, num(ttl + 60000))  -- who found it last may still be reading
end
keep(entry, ttl)
local left = call('PTTL', entry)
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
local ages = {}
for _, other in ipairs(variants_of(key)) do
  local m = data_of(key, other)
  if m.ends <= now_ms then remove(key, other) else ages[#ages + 1] = {m.arrived, other} end
end
table.sort(ages, function(a, b) return a[1] > b[1] end)
for i = tonumber(ARGV[14]) + 1, #ages do remove(key, ages[i][2]) end
for _, other in ipairs(call('ZRANGEBYSCORE', base .. 'ends', '-inf', num(now_ms), 'LIMIT', 0, 16)) do
  local rest = call('PTTL', base .. 'e:' .. other)
  if rest > 0 then call('ZADD', base .. 'ends', num(now_ms + rest), other) else unlist(other) end
end
return 'stored'
"""
)

DROP: Final = Script(
    _ENTRIES
    + """
-- KEY, variant, body: the variant cannot be used, or is superseded by one that was not stored. '*': whatever its body.
local m = data_of(ARGV[2], ARGV[3])
if m and (ARGV[4] == '*' or m.body == ARGV[4]) then remove(ARGV[2], ARGV[3]) end
return 1
"""
)

CHUNK: Final = Script(
    TIME
    + """
-- BODY, number, bytes, ms that it is kept if nothing follows.
call('HSET', base .. 'c:' .. ARGV[2], ARGV[3], ARGV[4])
call('PEXPIRE', base .. 'c:' .. ARGV[2], ARGV[5])
return 1
"""
)

PURGE: Final = Script(
    _ENTRIES
    + f"""
local FENCE_MS, FENCES_MAX, PREFIXES_MAX = {FENCE_MS}, {_FENCES_MAX}, {_PREFIXES_MAX}
"""
    + """
-- mode: hard, soft, dry; number; since when it is stale; kind: keys, labels, range; cursor; most keys at once; number
-- of names; names: keys, or labels, or for a range its prefix, its ends for ZRANGEBYLEX; then key, variant and size of
-- what memories held, each once: it counts if it is not here.
local mode, number, since, kind, cursor, most = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local last = 8 + tonumber(ARGV[8])
local keys, entries, size, is_known = 0, 0, 0, {}
local function is_selected(key, v)
  local m = data_of(key, v)
  if not m or m.ends <= now_ms then return false end
  if kind ~= 'labels' then return true end
  for i = 9, last do if call('ZSCORE', base .. 'l:' .. ARGV[i], v .. key) then return true end end
  return false
end
for i = last + 1, #ARGV, 3 do
  local key = ARGV[i]
  if not is_selected(key, ARGV[i + 1]) then
    entries, size = entries + 1, size + tonumber(ARGV[i + 2])
    if is_known[key] == nil then
      is_known[key] = false
      for _, v in ipairs(variants_of(key)) do is_known[key] = is_known[key] or is_selected(key, v) end
      if not is_known[key] then keys = keys + 1 end
    end
  end
end
local function fence(set, name)
  local before = call('ZSCORE', base .. set, name)
  if not whole(before) or whole(before) < tonumber(number) then call('ZADD', base .. set, number, name) end
end
if mode ~= 'dry' then
  if kind == 'range' then
    if ARGV[9] == '' then fence('fences', '*') else fence('prefixes', ARGV[9]) end
  else
    for i = 9, last do fence('fences', (kind == 'keys' and 'k' or 'l') .. ARGV[i]) end
  end
  for set, limit in pairs({fences = FENCES_MAX, prefixes = PREFIXES_MAX}) do
    call('ZREMRANGEBYSCORE', base .. set, '-inf', num(now - FENCE_MS * 1000))
    if call('ZCARD', base .. set) > limit then
      call('DEL', base .. set)
      fence('fences', '*')
    end
    keep(base .. set, FENCE_MS)
  end
end
local function hit(key, v)
  local m = data_of(key, v)
  if not m or m.ends <= now_ms then
    if mode ~= 'dry' then remove(key, v) end
    return false
  end
  entries, size = entries + 1, size + m.size
  if mode == 'hard' then
    remove(key, v)
  elseif mode == 'soft' then
    if m.soft == '-' or tonumber(m.soft) > tonumber(since) then m.soft = since end
    write(key, v, m)
  end
  return true
end
local function hit_all(key)
  local any = false
  for _, v in ipairs(variants_of(key)) do any = hit(key, v) or any end
  if any then keys = keys + 1 end
end
if kind == 'keys' then
  for i = 9, last do hit_all(ARGV[i]) end
elseif kind == 'labels' then
  local seen, counted = {}, {}
  for i = 9, last do
    local name = base .. 'l:' .. ARGV[i]
    for _, member in ipairs(call('ZRANGE', name, 0, -1)) do
      local key, v = string.sub(member, 33), string.sub(member, 1, 32)
      if not seen[member] then
        seen[member] = true
        if not hit(key, v) then
          if mode ~= 'dry' then call('ZREM', name, member) end
        elseif not counted[key] then
          counted[key] = true
          keys = keys + 1
        end
      end
    end
  end
else
  if call('ZCOUNT', base .. 'names', 0, 0) ~= call('ZCARD', base .. 'names') then
    call('UNLINK', base .. 'names')  -- not in the order of their bytes: what is in no order is not found
  end
  local from = cursor == '' and ARGV[10] or '(' .. cursor
  local names = call('ZRANGEBYLEX', base .. 'names', from, ARGV[11], 'LIMIT', 0, most)
  for _, key in ipairs(names) do
    hit_all(key)
    if mode ~= 'dry' and call('EXISTS', base .. 'e:' .. key) == 0 then unlist(key) end
  end
  cursor = #names == most and names[most] or ''
end
return {keys, entries, num(size), cursor}
"""
)

ACQUIRE: Final = Script(
    LEASES
    + f"""
local FENCE_MS = {FENCE_MS}
"""
    + """
-- NAME, ms, when it was looked up, '' if it was not. Returns 'give_up', 'waiting', 'done' when a lease ended since that
-- lookup, or 'lease', each with the token of who has it. Who only looks says 0 ms, and instead of when the token of the
-- lease that is waited for, 0 for any: it is 'waiting' as long as that one is, then 'transient_error' or 'done'.
local name, ms = ARGV[2], tonumber(ARGV[3])
local told = call('GET', base .. 'a:' .. name)
if told == 'give_up' then return {told, '0'} end
local holder = holder_of(name)
if ms == 0 then
  if holder and (ARGV[4] == '0' or ARGV[4] == holder) then return {'waiting', holder} end
  return {told == 'transient_error' and told or 'done', '0'}
end
if holder then return {'waiting', holder} end
local last = last_token(name)
if ARGV[4] ~= '' and tonumber(ARGV[4]) <= last and told ~= 'transient_error' then return {'done', '0'} end
local token = num(math.max(last + 1, now))
call('SET', base .. 's:' .. name, token, 'PX', num(ms))
call('SET', base .. 't:' .. name, token, 'PX', FENCE_MS)
return {'lease', token}
"""
)

EXTEND: Final = Script(
    LEASES
    + """
-- NAME, token, ms.
if call('GET', base .. 's:' .. ARGV[2]) ~= ARGV[3] then return 0 end
return call('PEXPIRE', base .. 's:' .. ARGV[2], ARGV[4])
"""
)

RELEASE: Final = Script(
    LEASES
    + f"""
local FENCE_MS = {FENCE_MS}
"""
    + """
-- NAME, token, what those who wait are told, for how many ms; 0: nothing, they look again. Returns when it ended, 0 if
-- it had ended before.
local name = ARGV[2]
if call('GET', base .. 's:' .. name) ~= ARGV[3] then return '0' end
call('DEL', base .. 's:' .. name, base .. 'a:' .. name)
if ARGV[5] ~= '0' then call('SET', base .. 'a:' .. name, ARGV[4], 'PX', ARGV[5]) end
local ended = num(math.max(tonumber(ARGV[3]), now))
call('SET', base .. 't:' .. name, ended, 'PX', FENCE_MS)
return ended
"""
)

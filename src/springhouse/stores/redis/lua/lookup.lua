-- Find the variants stored under a key.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  key
--
-- Returns the server's time in microseconds, and for each variant a row: variant, when it was stored, its body or '-',
-- since when a soft purge says that it is stale or '-', its record, its content if that is small, its labels. A variant
-- that is missing from its indexes, because Redis has evicted them, could not be purged: it is not found.
--
-- With shared/entries.lua
local key, fields = ARGV[1], {}
local found = {num(now)}
local got = call('HGETALL', base .. 'e:' .. key)
if #got == 0 then return found end
for i = 1, #got, 2 do fields[got[i]] = got[i + 1] end
if not call('ZSCORE', base .. 'names', key) then return found end
for field, text in pairs(fields) do
  if string.sub(field, -2) == ':m' then
    local v = string.sub(field, 1, -3)
    local m, is_listed = read(text), true
    for label in each(fields[v .. ':l']) do
      is_listed = is_listed and call('ZSCORE', base .. 'l:' .. label, v .. key)
    end
    if is_listed and m.ends > now_ms and fields[v .. ':r'] then
      found[#found + 1] = {v, num(m.arrived), m.body, m.soft, fields[v .. ':r'], fields[v .. ':b'] or '',
        fields[v .. ':l'] or ''}
    end
  end
end
return found

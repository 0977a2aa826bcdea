-- Put a freshened variant in the place of the one it was made of, whose content it takes over.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  key
-- ARGV[2]  variant
-- ARGV[3]  record
-- ARGV[4]  size: bytes of the record and the content
-- ARGV[5]  stamp: which response it was made of
-- ARGV[6]  ttl: milliseconds that it is kept
-- ARGV[7]  labels, a line each
-- ARGV[8]  epoch: the number of the last purge that the node had applied
-- ARGV[9]  age: milliseconds since the request was sent
-- ARGV[10] token of the lease it was fetched by; 0 without one
-- ARGV[11] name of that lease
-- ARGV[12] variants_max: how many variants the key may have
-- ARGV[13] fresh_until
-- ARGV[14] old: the variant to replace
-- ARGV[15] old_stamp: its stamp
-- ARGV[16] old_fresh_until: until when it was thought to be fresh. A soft purge since then makes it another.
--
-- Returns 'stored', or why it was not: 'old', 'purged', 'late'; 'gone' when the old one is no longer there.
--
-- With shared/storing.lua
local key, v, record, size, stamp, ttl, labels =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]
local epoch, age, token, lease, variants_max, fresh_until =
  ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[12]), ARGV[13]
local old, old_stamp, old_fresh_until = ARGV[14], ARGV[15], ARGV[16]

local function fresh_until_of(m)
  return m.soft ~= '-' and tonumber(m.soft) < tonumber(m.fresh) and m.soft or m.fresh
end

local refusal = refusal_of(key, labels, epoch, age, token, lease)
if refusal then return refusal end
remove_unlisted(key, '-')
local before = data_of(key, old)
if not before or before.stamp ~= old_stamp or fresh_until_of(before) ~= old_fresh_until then return 'gone' end
local content = call('HGET', base .. 'e:' .. key, old .. ':b') or ''
remove(key, old, before.body)
local m = {ends = now_ms + ttl, size = size, arrived = before.arrived, stamp = stamp, body = before.body,
  fresh = fresh_until, soft = '-'}
store(key, v, m, record, labels, content, ttl)
limit_variants(key, variants_max)
unlist_expired()
return 'stored'

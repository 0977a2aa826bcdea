-- Store a variant of a key, and its content, which stands beside the record or is a body that has been written.
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
-- ARGV[14] content, if it is small; '' otherwise
-- ARGV[15] body: the name of the hash of chunks; '-' if the content is small
-- ARGV[16] chunks: how many the body must have
--
-- Returns 'stored', or why it was not: 'old', 'purged', 'late'; 'gone' when chunks of the body are missing.
--
-- With shared/storing.lua
local key, v, record, size, stamp, ttl, labels =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]
local epoch, age, token, lease, variants_max, fresh_until =
  ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[12]), ARGV[13]
local content, body, chunks = ARGV[14], ARGV[15], tonumber(ARGV[16])

local function refuse(why)
  if body ~= '-' then call('UNLINK', base .. 'c:' .. body) end
  return why
end

local refusal = refusal_of(key, labels, epoch, age, token, lease)
if refusal then return refuse(refusal) end
remove_unlisted(key, body)
if body ~= '-' and call('HLEN', base .. 'c:' .. body) ~= chunks then return refuse('gone') end
local m = {ends = now_ms + ttl, size = size, arrived = now, stamp = stamp, body = body, fresh = fresh_until, soft = '-'}
store(key, v, m, record, labels, content, ttl)
limit_variants(key, variants_max)
unlist_expired()
return 'stored'

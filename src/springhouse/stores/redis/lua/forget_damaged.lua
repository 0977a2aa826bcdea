-- Remove a variant whose body turned out to be missing or damaged, unless it has got another body since.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  key
-- ARGV[2]  variant
-- ARGV[3]  body
--
-- Returns 1.
--
-- With shared/entries.lua
local key, v, body = ARGV[1], ARGV[2], ARGV[3]
local m = data_of(key, v)
if m and m.body == body then remove(key, v) end
return 1

-- Remove a variant that is superseded by a response that was not stored.
--
-- KEYS[1]  base: the beginning of all names in the key's bucket
-- ARGV[1]  key
-- ARGV[2]  variant
--
-- Returns 1.
--
-- With shared/entries.lua
local key, v = ARGV[1], ARGV[2]
if data_of(key, v) then remove(key, v) end
return 1

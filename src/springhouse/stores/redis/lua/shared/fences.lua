-- How long, in milliseconds, a purge is remembered against fills: a response that took longer to arrive is not stored.
-- Tokens of leases are remembered for as long.
local FENCE_MS = 3600000

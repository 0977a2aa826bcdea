-- Append an entry to the log of purges.
--
-- KEYS[1]  base: the beginning of the log's names
-- ARGV[1]  what: 'begin' or 'end'
-- ARGV[2]  node that appends it
-- ARGV[3]  purge: for 'begin' its description, for 'end' its number
-- ARGV[4]  most: how many entries the log keeps
-- ARGV[5]  ttl: milliseconds that an idle log is kept
--
-- Returns the entry's number. Numbers grow, even when Redis has lost the last one.
--
-- With shared/log.lua
local what, node, purge, most, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local last = last_of_log()
local number = num(math.max(last + 1, now))
call('XADD', base .. 'purges', 'MAXLEN', most, number .. '-0', 'before', num(last), 'what', what, 'node', node,
  'purge', purge)
call('SET', base .. 'last', number, 'PX', ttl)
call('PEXPIRE', base .. 'purges', ttl)
return number

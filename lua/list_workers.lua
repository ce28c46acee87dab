#!lua flags=no-writes
-- A piece of the workers: those that live, and those of the last hour that did not say good-bye.
--
-- Replies  ok <now_ms> { <name> <lives until ms> <what it says of itself> <1 where it is to drain | ''> } ...

-- @include lib/clock.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local first  = ARGV[1]   -- int   rank of the first, from the one that lives longest
local limit  = ARGV[2]   -- int   workers at most

local reply = { 'ok', now_ms() }
local found = redis.call('ZREVRANGE', prefix .. 'workers', first, first + limit - 1, 'WITHSCORES')
for at = 1, #found, 2 do
  local told = redis.call('HMGET', prefix .. 'worker:' .. found[at], 'about', 'drain')
  reply[#reply + 1] = { found[at], found[at + 1], told[1] or '', told[2] or '' }
end
return reply

#!lua
-- Give the namespace a name in stores of large payloads: kept for good, and no other namespace's, also of the same name
-- on another server. What is found there under this name belongs to runs that are found here, or to none.
--
-- Replies  ok <name>

local prefix = KEYS[1]   -- str   of every key in the first partition
local name   = ARGV[1]   -- str   the name if it has none yet

redis.call('HSETNX', prefix .. 'meta', 'store', name)
return { 'ok', redis.call('HGET', prefix .. 'meta', 'store') }

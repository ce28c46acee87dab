#!lua flags=allow-oom
-- Let a schedule rest: no tick is fired until it is resumed.
--
-- Replies  ok | missing

-- @include lib/set_next.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local schedule = ARGV[1]   -- str

local key = prefix .. 'schedule:' .. schedule
if redis.call('EXISTS', key) == 0 then return { 'missing' } end

redis.call('HSET', key, 'pz', '1')
set_next(prefix, schedule, '')
return { 'ok' }

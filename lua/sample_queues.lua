#!lua
-- Note how much waits in each queue, for the minute that it is now.
--
-- Replies  ok

-- @include lib/clock.lua
-- @include lib/minute_key.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local keep_ms = ARGV[1]   -- ms    from now on the minute is kept for so long
local depths  = 2         -- tail  field, runs

local key = minute_key(prefix, now_ms())
for place = depths, #ARGV, 2 do redis.call('HSET', key, ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIRE', key, keep_ms)
return { 'ok' }

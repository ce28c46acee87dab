#!lua flags=allow-oom
-- Delete a schedule. The run that is going on goes on; those that were queued behind it are canceled.
--
-- Moves    waiting:overlap -> canceled
-- Replies  ok

-- @include lib/clock.lua
-- @include lib/cancel_queued.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local schedule = ARGV[1]   -- str

cancel_queued(prefix, schedule, nil, now_ms())
redis.call('DEL', prefix .. 'schedule:' .. schedule)
redis.call('ZREM', prefix .. 'schedules', schedule)
return { 'ok' }

#!lua flags=no-writes
-- How many runs have a due time, a deadline or a start-by time; and what time it is.
--
-- Replies  ok <now_ms> <runs>

-- @include lib/clock.lua

local prefix = KEYS[1]   -- str   of every key in the partition

return { 'ok', now_ms(), redis.call('ZCARD', prefix .. 'delayed') }

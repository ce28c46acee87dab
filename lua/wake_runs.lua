#!lua flags=allow-oom
-- The timer watcher: bring what is due back to its stream, bounded.
--
-- Moves    waiting -> pending, a passed deadline -> failed
-- Replies  ok <woken> <next_due_in_ms | -1>

-- @include lib/clock.lua
-- @include lib/next_due_in.lua
-- @include lib/wake_due.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local limit  = ARGV[1]   -- int   runs at most

local now = now_ms()
local woken = wake_due(prefix, now, limit)
return { 'ok', woken, ms_until(first_due(prefix), now) }

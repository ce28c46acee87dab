#!lua flags=allow-oom
-- From the outbox of a run's partition: it no longer runs, or no longer wants to. What it holds of a limit goes to whoever
-- waits for it; what it has used of a rate stays used.
--
-- Replies  ok

-- @include lib/clock.lua
-- @include lib/lines.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local hash   = ARGV[1]   -- str   the limit
local permit = ARGV[2]   -- str   <run id>/<round>:<count>:<period ms>

redis.call('ZREM', prefix .. 'blocked:' .. hash, permit)
lines().free_slot(prefix, hash, string.match(permit, '%d+$'), permit)
lines().wake_blocked(prefix, hash, now_ms())
return { 'ok' }

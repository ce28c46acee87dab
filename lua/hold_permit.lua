#!lua flags=allow-oom
-- From the outbox of a run's partition: the run holds a slot of a limit that is decided here, or has used one of a rate
-- now. Its own word counts, also where the slot was lost here.
--
-- Replies  ok

-- @include lib/clock.lua
-- @include lib/lines.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local hash   = ARGV[1]   -- str   the limit
local permit = ARGV[2]   -- str   <run id>/<round>:<count>:<period ms>

local now = now_ms()
local has_moved = redis.call('ZREM', prefix .. 'blocked:' .. hash, permit) == 1
lines().hold_slot(prefix, hash, string.match(permit, '%d+$'), permit, now)
if has_moved then lines().wake_blocked(prefix, hash, now) end
return { 'ok' }

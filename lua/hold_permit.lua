#!lua flags=allow-oom
-- From the outbox of a run's partition: the run holds a slot of a limit that is decided here, or has used one of a rate
-- now. Its own word counts, also where the slot was lost here.
--
-- Replies  ok

-- @include lib/clock.lua
-- @include lib/take_slots.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local hash   = ARGV[1]   -- str   the limit
local permit = ARGV[2]   -- str   <run id>/<round>:<count>:<period ms>

local holders, now = prefix .. 'limit:' .. hash, now_ms()
local period = tonumber(string.match(permit, '%d+$'))
redis.call('ZREM', prefix .. 'blocked:' .. hash, permit)
-- A slot that was used before counts from then; one that was only given counts from now.
if tonumber(redis.call('ZSCORE', holders, permit) or GIVEN) == GIVEN then redis.call('ZADD', holders, now, permit) end
keep_rate(holders, period)
return { 'ok' }

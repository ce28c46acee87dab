#!lua flags=allow-oom
-- Tell a worker to drain: to claim nothing more, and to stop when its runs have ended or its grace is over. It reads
-- that with its next heartbeat.
--
-- Replies  ok | missing
--          missing: no worker of this name is alive

-- @include lib/clock.lua
-- @include lib/is_alive.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local worker = ARGV[1]   -- str   its consumer name

if not is_alive(prefix, worker, now_ms()) then return { 'missing' } end
redis.call('HSET', prefix .. 'worker:' .. worker, 'drain', '1')
return { 'ok' }

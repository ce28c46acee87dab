#!lua flags=allow-oom
-- Let what a pause holds go slowly: drive_controls and the claims do it, by the server's clock.
--
-- Replies  releasing | not paused

-- @include lib/clock.lua
-- @include lib/ring_alarm.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local control = ARGV[1]   -- str   q:<queue> or w:<workflow>
local release = ARGV[2]   -- str   its id: a repeat is known by it
local rate    = ARGV[3]   -- int   runs per 1,000 s
local ratio   = ARGV[4]   -- int   failures per 1,000 ended runs at which it stops; 0: never
local least   = ARGV[5]   -- int   ended runs, in all partitions, before that is looked at
local phase   = ARGV[6]   -- int   1/1,000 of the time between two runs that counts as over: partitions take turns

local state = redis.call('HGET', prefix .. 'controls', control)
if not state then return { 'not paused' } end
if state == 'releasing:' .. release then return { 'releasing' } end

local now, control_key = now_ms(), prefix .. 'control:' .. control
local since = redis.call('HGET', control_key, 'since') or now
redis.call('UNLINK', control_key)
local at = string.format('%.3f', now - tonumber(phase) * 1000 / tonumber(rate))
redis.call('HSET', control_key, 'since', since, 'rate', rate, 'ratio', ratio, 'least', least, 'began', now, 'at', at,
  'released', 0, 'ok', 0, 'bad', 0)
redis.call('HSET', prefix .. 'controls', control, 'releasing:' .. release)
ring_alarm(prefix)
return { 'releasing' }

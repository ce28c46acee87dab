#!lua flags=allow-oom
-- Let a paused queue or workflow go on, all at once. What a workflow's pause holds is let back by drive_controls, in
-- bounded steps.
--
-- Replies  ok

-- @include lib/ring_alarm.lua
-- @include lib/ring.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local control = ARGV[1]   -- str   q:<queue> or w:<workflow>

local state = redis.call('HGET', prefix .. 'controls', control)
if not state or state == 'resuming' then return { 'ok' } end
local kind, name = string.match(control, '^(.):(.*)$')
if kind == 'w' and redis.call('EXISTS', prefix .. 'held:' .. name) == 1 then
  redis.call('HSET', prefix .. 'controls', control, 'resuming')
  ring_alarm(prefix)
else
  redis.call('HDEL', prefix .. 'controls', control)
  redis.call('UNLINK', prefix .. 'control:' .. control)
  if kind == 'q' then ring(prefix, name) end
end
return { 'ok' }

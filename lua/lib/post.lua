-- @include lib/ring_alarm.lua

-- What is to be done in another partition, or for many runs, is written down in the step that is its reason. Workers
-- carry it out, whoever comes first, and as often as it takes: all of it may be done twice.
local function post(prefix, ...)
  redis.call('XADD', prefix .. 'outbox', '*', ...)
  ring_alarm(prefix)
end

#!lua
-- Append an event from outside to a run's own, whoever holds it: what a person did to it.
--
-- Replies  ok | missing
--
-- Sent again, it finds its own data among the last events (callers make it unlike any other), and adds nothing.

-- @include lib/append_events.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local keep   = ARGV[2]   -- int   events that are kept, about
local event  = 3         -- tail  kind data step attempt

if redis.call('HEXISTS', prefix .. 'run:' .. run_id, 's') == 0 then return { 'missing' } end
for _, known in ipairs(redis.call('XREVRANGE', prefix .. 'events:' .. run_id, '+', '-', 'COUNT', 20)) do
  if known[2][4] == ARGV[event + 1] then return { 'ok' } end
end
append_events(prefix, run_id, keep, event, #ARGV)
return { 'ok' }

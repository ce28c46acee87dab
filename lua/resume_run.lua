#!lua flags=allow-oom
-- Let a paused run go on: back to its stream, where its replay decides what is to be done, back to a timer that is
-- not due yet, or to its place behind others of its schedule or its fair key.
--
-- Moves    waiting:paused -> pending | waiting:start | waiting:timer | waiting:retry | waiting:overlap | waiting:limited
-- Replies  resumed <status> | already <status> | missing
--
-- A run that is not paused is as it should be: `resumed`, with what it does.

-- @include lib/clock.lua
-- @include lib/earlier.lua
-- @include lib/has_turn.lua
-- @include lib/is_stuck.lua
-- @include lib/is_terminal.lua
-- @include lib/load_run.lua
-- @include lib/queue_up.lua
-- @include lib/requeue.lua
-- @include lib/set_due.lua
-- @include lib/wake_run.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local run = load_run(prefix, run_id)
if not run then return { 'missing' } end
if run.status ~= 'waiting:paused' then
  return { is_terminal(run.status) and 'already' or 'resumed', run.status }
end

local run_key = prefix .. 'run:' .. run_id
local kept = redis.call('HMGET', run_key, 'pz', 'wn')
local was, due = string.match(kept[1], '^(%S+) ?(%d*)$')
due = tonumber(due)
-- Mail may have come, and code too: then only a replay can tell. The next attempt of a workflow must not be early.
if due and due > now_ms() and (kept[2] or '') == '' and not is_stuck(was) and was ~= 'waiting:limited' then
  local due_ms = earlier(due, earlier(run.deadline, run.expires))
  redis.call('HSET', run_key, 's', was, 'd', due_ms)
  redis.call('HDEL', run_key, 'pz')
  set_due(prefix, run_id, due_ms)
  return { 'resumed', was }
end
if was == 'waiting:overlap' and run.schedule and not has_turn(prefix, run.schedule, run_id) then
  queue_up(prefix, run.schedule, run_id)
  redis.call('HSET', run_key, 's', was)
  redis.call('HDEL', run_key, 'pz')
  return { 'resumed', was }
end
if not run.was_claimed and (run.priority or run.fair) then
  wake_run(prefix, run_id, run)
else
  requeue(prefix, run_id, run.queue, nil, run.fence)
end
redis.call('HDEL', run_key, 'pz', 'er')
return { 'resumed', redis.call('HGET', run_key, 's') }

-- @include lib/leave_place.lua
-- @include lib/leave_stream.lua
-- @include lib/release_unique.lua

-- Everything that a terminal status means besides the run's own fields, the same for each way to end:
-- no entry, no timer, no unique key, the other listing, and a word to whoever awaits the result.
-- The unfinished listing is left last: a run that is still there is looked after by reconcile_runs.
local function end_run(prefix, run_id, status, now, run)
  if run.entry then leave_stream(prefix, run.queue, run.entry) end
  if run.due then redis.call('ZREM', prefix .. 'delayed', run_id) end
  leave_place(prefix, run_id, run)
  if run.unique then release_unique(prefix, run.unique, run_id) end
  redis.call('ZADD', prefix .. 'done:' .. run.workflow .. ':' .. status, now, run_id)
  -- Its schedule is looked at now: another run of it may wait for this one.
  if run.schedule then redis.call('ZADD', prefix .. 'schedules', 'XX', 0, run.schedule) end
  redis.call('ZREM', prefix .. 'runs:' .. run.workflow, run_id)
  -- Always, unlike finish_run: a verdict from outside is rare, and its waiter may not be noted yet.
  redis.call('SPUBLISH', prefix .. 'done:' .. run_id, status)
end

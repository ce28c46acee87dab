-- @include lib/leave_place.lua
-- @include lib/requeue.lua
-- @include lib/taken_fence.lua
-- @include lib/tell_holder.lua
-- @include lib/lines.lua

-- Take a run from whoever has it. Its new entry comes first: where it cannot be made, nothing is fixed, and the holder
-- goes on.
local function take_over(prefix, run_id, verdict, now, run)
  local key = prefix .. 'run:' .. run_id
  if run.status == 'running' then tell_holder(prefix, run.queue, run.entry, run_id) end
  requeue(prefix, run_id, run.queue, run.entry, taken_fence(run.fence))
  redis.call('HSET', key, 'vd', verdict)
  redis.call('HDEL', key, 'dl', 'd', 'z', 'er', 'pz', 'ls')
  redis.call('ZREM', prefix .. 'delayed', run_id)
  leave_place(prefix, run_id, run)
  if run.limits or run.fair then lines().leave_limits(prefix, run_id, run, now) end
end

-- A run that has compensations does not end at once: its verdict is fixed, and it is given to whoever claims it next,
-- who runs them and ends it so. Nothing changes a verdict that is fixed. Its deadline has done what it is for: it would
-- end the run before it is undone. A run that was replaced leaves its unique key to the newer one.
local function fix_verdict(prefix, run_id, status, cause, now, run)
  if not run.verdict then
    local deadline = run.deadline and string.format('%d', run.deadline) or ''
    take_over(prefix, run_id, table.concat({ status, cause, deadline }, ' '), now, run)
  end
  if cause == 'replaced' then redis.call('HDEL', prefix .. 'run:' .. run_id, 'uq') end
end

-- @include lib/leave_place.lua
-- @include lib/requeue.lua
-- @include lib/taken_fence.lua
-- @include lib/tell_holder.lua
-- @include lib/lines.lua

-- A run that has compensations does not end at once: its verdict is fixed, and it is given to whoever claims it next,
-- who runs them and ends it so. Nothing changes a verdict that is fixed. Its deadline has done what it is for: it would
-- end the run before it is undone. A run that was replaced leaves its unique key to the newer one.
local function fix_verdict(prefix, run_id, status, cause, now, run)
  local key = prefix .. 'run:' .. run_id
  if cause == 'replaced' then redis.call('HDEL', key, 'uq') end
  if run.verdict then return end
  if run.status == 'running' then tell_holder(prefix, run.queue, run.entry, run_id) end
  local deadline = run.deadline and string.format('%d', run.deadline) or ''
  redis.call('HSET', key, 'vd', table.concat({ status, cause, deadline }, ' '))
  redis.call('HDEL', key, 'dl', 'd', 'z', 'er', 'pz', 'ls')
  redis.call('ZREM', prefix .. 'delayed', run_id)
  leave_place(prefix, run_id, run)
  if run.limits or run.fair then lines().leave_limits(prefix, run_id, run, now) end
  requeue(prefix, run_id, run.queue, run.entry, taken_fence(run.fence))
end

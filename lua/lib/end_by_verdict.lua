-- @include lib/count_end.lua
-- @include lib/end_run.lua
-- @include lib/orphan_kids.lua
-- @include lib/taken_fence.lua
-- @include lib/tell_holder.lua
-- @include lib/tell_parent.lua
-- @include lib/fix_verdict.lua
-- @include lib/lines.lua

-- End a run from outside: by cancel, by its deadline, as poisoned. The holder is shut out in the same step. A run that
-- has compensations runs them first, unless it kills its workers. Returns whether it has ended.
local function end_by_verdict(prefix, run_id, status, cause, now, run)
  if run.is_compensable and cause ~= 'poisoned' then
    fix_verdict(prefix, run_id, status, cause, now, run)
    return false
  end
  local key = prefix .. 'run:' .. run_id
  if run.status == 'running' then tell_holder(prefix, run.queue, run.entry, run_id) end
  -- Before its end: where this cannot be written, it has not ended, and nobody cancels children of a run that goes on.
  orphan_kids(prefix, run_id)
  if run.parent then tell_parent(prefix, run.parent, run_id, status, cause, '', now) end
  redis.call('HSET', key, 's', status, 't', now, 'ca', cause, 'f', taken_fence(run.fence))
  redis.call('HDEL', key, 'e', 'd', 'p', 'z', 'er', 'pz', 'ls', 'vd')
  end_run(prefix, run_id, status, now, run)
  count_end(prefix, run.workflow, status, now)
  if run.limits or run.fair then lines().leave_limits(prefix, run_id, run, now) end
  return true
end

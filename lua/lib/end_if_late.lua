-- @include lib/end_by_verdict.lua
-- @include lib/load_run.lua

-- A deadline that has passed is the verdict, whatever the holder brings. Returns whether it was.
local function end_if_late(prefix, run_id, deadline, now)
  if not deadline or tonumber(deadline) > now then return false end
  end_by_verdict(prefix, run_id, 'failed', 'deadline', now, load_run(prefix, run_id))
  return true
end

-- @include lib/end_by_verdict.lua
-- @include lib/load_run.lua

-- A deadline that has passed is the verdict, whatever the holder brings. Returns what the holder is told, now and when it
-- asks again: the run has ended, or it is to be undone first and is nobody's; nothing where it was not late.
local function end_if_late(prefix, run_id, deadline, now)
  if not deadline or tonumber(deadline) > now then return nil end
  return end_by_verdict(prefix, run_id, 'failed', 'deadline', now, load_run(prefix, run_id)) and 'ended' or 'fenced'
end

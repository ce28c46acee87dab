-- @include lib/leave_limits.lua
-- @include lib/leave_stream.lua
-- @include lib/take_permits.lua

-- What a claim does for a run with limits or a fair key; returns whether the run may run. If not, it waits. `refilled`
-- says that the next run of a fair key came in behind it.
local function take_limits(prefix, queue, entry, run_id, limits, fair, has_begun, now)
  -- A fork has begun, as its record says, and stands in the window like any run that is new.
  if fair and leave_window(prefix, run_id, fair, now) then made.refilled = true end
  if limits and is_spread(limits) then return take_permits(prefix, queue, entry, run_id, limits, has_begun) end
  local full = limits and take_slots(prefix, run_id, limits, has_begun, true, now)
  if not full then return true end
  leave_stream(prefix, queue, entry)
  -- One of the slots that it was given may have been lost; it waits for all of them again.
  free_slots(prefix, run_id, limits, now)
  block_run(prefix, run_id, full)
  wake_blocked(prefix, full, now)
  return false
end

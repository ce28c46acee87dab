-- @include lib/effects.lua

-- free: this run has limits, and may no longer run when the script ends. Not at once: where mail has come, a run that
-- was to be parked goes on running.
local freeing = {}
effects.free = function(_, run_id)
  freeing[#freeing + 1] = run_id
  return 0
end

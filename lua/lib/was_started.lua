-- Whether a start with this id was made before: its run is there, or was deleted soon after. Or it is not to be made: a
-- child that was canceled before its order came here, for which nobody waits, and whoever ordered it need not know.
local function was_started(prefix, run_id)
  return redis.call('EXISTS', prefix .. 'run:' .. run_id, prefix .. 'idem:' .. run_id) > 0
end

-- Waiting for code, not for time: such runs are listed apart, so that a worker with new code finds them.
local function is_stuck(status)
  return status == 'waiting:stranded' or status == 'waiting:suspended'
end

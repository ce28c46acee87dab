-- Queue a run behind others of its schedule, last, unless it is queued; returns whether it was not.
local function queue_up(prefix, schedule, run_id)
  local queue = prefix .. 'queued:' .. schedule
  if redis.call('LPOS', queue, run_id) then return false end
  redis.call('RPUSH', queue, run_id)
  return true
end

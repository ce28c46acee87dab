-- @include lib/free_slots.lua

-- A run that has not begun yet, and no longer stands in its stream, makes room for the next one of its fair key.
local function leave_window(prefix, run_id, fair, now)
  local was_there = redis.call('ZREM', prefix .. 'fair:' .. fair, run_id) == 1
  if was_there then wake_blocked(prefix, fair, now) end
  return was_there
end

-- A run is ended from outside, wherever it is: its slots and its places in lines go to others.
local function leave_limits(prefix, run_id, run, now)
  if run.blocked_on and redis.call('ZREM', prefix .. 'blocked:' .. run.blocked_on, run_id) == 1 then
    -- The timer of the whole line may have been with this run.
    wake_blocked(prefix, run.blocked_on, now)
  end
  if run.limits then free_slots(prefix, run_id, run.limits, now) end
  if run.fair then leave_window(prefix, run_id, run.fair, now) end
end

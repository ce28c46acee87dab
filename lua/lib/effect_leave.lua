-- @include lib/effects.lua
-- @include lib/pass_turn.lua

-- leave <schedule>: this run of a schedule ends, and the next has its turn. Only with the step that ends it.
effects.leave = function(prefix, run_id, at, now)
  local schedule = ARGV[at]
  local function leave()
    if redis.call('HGET', prefix .. 'schedule:' .. schedule, 'on') == run_id then pass_turn(prefix, schedule, now) end
  end
  -- Whatever became of the schedule's keys, the run ends: due_schedules looks after those that wait.
  return 1, function()
    if not pcall(leave) then redis.pcall('ZADD', prefix .. 'schedules', 'XX', 0, schedule) end
  end
end

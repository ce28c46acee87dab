-- @include lib/effects.lua
-- @include lib/pass_turn.lua

-- leave <schedule>: this run of a schedule ends, and the next has its turn. Only with the step that ends it.
effects.leave = function(prefix, run_id, at, now)
  -- Whatever became of the schedule's keys, the run ends: due_schedules looks after those that wait.
  local on = redis.pcall('HGET', prefix .. 'schedule:' .. ARGV[at], 'on')
  if on == run_id then pass_turn(prefix, ARGV[at], now) end
  return 1
end

-- @include lib/earlier.lua
-- @include lib/set_due.lua

-- One timer is enough for a whole line: it is with one of its runs, beside what that run is due for by itself.
local function time_blocked(prefix, run_id, due, at_ms)
  if due and tonumber(due) <= at_ms then return end
  redis.call('HSET', prefix .. 'run:' .. run_id, 'd', at_ms)
  set_due(prefix, run_id, at_ms)
end

-- The timer of a run that is the timer of a line no longer.
local function restore_timer(prefix, run_id, run)
  local due_ms = earlier(run.deadline, run.expires)
  if due_ms then
    redis.call('HSET', prefix .. 'run:' .. run_id, 'd', due_ms)
    set_due(prefix, run_id, due_ms)
  elseif run.due then
    redis.call('HDEL', prefix .. 'run:' .. run_id, 'd')
    redis.call('ZREM', prefix .. 'delayed', run_id)
  end
end

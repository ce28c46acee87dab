-- @include lib/is_stuck.lua

-- A run that waits for code, or that is held, stands in a list of its own: it leaves that list.
local function leave_place(prefix, run_id, run)
  if is_stuck(run.status) then
    redis.call('ZREM', prefix .. 'stuck:' .. run.workflow, run_id)
  elseif run.status == 'waiting:held' then
    redis.call('ZREM', prefix .. 'held:' .. run.workflow, run_id)
  end
end

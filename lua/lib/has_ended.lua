-- @include lib/is_terminal.lua

-- Whether a run has ended, or is not stored any more.
local function has_ended(prefix, run_id)
  local status = redis.call('HGET', prefix .. 'run:' .. run_id, 's')
  return not status or is_terminal(status)
end

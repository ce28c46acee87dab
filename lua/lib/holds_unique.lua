-- @include lib/is_terminal.lua

-- Whether the unique key names this run, or another that has not ended: then it is that one's.
local function holds_unique(prefix, hash, run_id)
  local holder = redis.call('GET', prefix .. 'unique:' .. hash)
  if not holder or holder == run_id then return holder == run_id end
  local status = redis.call('HGET', prefix .. 'run:' .. holder, 's')
  return status and not is_terminal(status)
end

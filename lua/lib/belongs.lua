-- @include lib/is_stuck.lua
-- @include lib/is_terminal.lua
-- @include lib/waits_for.lua

-- Whether a run's hash says that this listing may name it. One that cannot be read may: nothing is done about it here.
local function belongs(prefix, name, run_id)
  local key = prefix .. 'run:' .. run_id
  if redis.call('EXISTS', key) == 0 then return false end
  local r = redis.pcall('HMGET', key, 's', 'w', 'tg', 'sg', 'd')
  if r.err or not r[1] or not r[2] then return true end
  local status, what, rest = r[1], string.match(name, '^(%a+):?(.*)$')
  if what == 'runs' then return rest == r[2] and not is_terminal(status) end
  if what == 'done' then return rest == r[2] .. ':' .. status end
  if what == 'stuck' then return rest == r[2] and is_stuck(status) end
  if what == 'held' then return rest == r[2] and status == 'waiting:held' end
  if what == 'tag' then return waits_for(string.match(r[3] or '', '^[^\n]*'), rest) end
  if what == 'signal' then return is_terminal(status) or waits_for(r[4], rest) end
  if what == 'delayed' then return r[5] ~= false end
  -- Those that were broken once, and can be read again, need not be looked at any more.
  return what ~= 'broken'
end

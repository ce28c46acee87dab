-- A run that begins with the record of another: its records were put aside, all of them, and become its hash.
local function has_staged(prefix, run_id, mark)
  return redis.call('HLEN', prefix .. 'fork:' .. run_id) == tonumber(string.match(mark, '^%d+'))
end

local function take_staged(prefix, run_id)
  local run_key = prefix .. 'run:' .. run_id
  redis.call('RENAME', prefix .. 'fork:' .. run_id, run_key)
  redis.call('PERSIST', run_key)
end

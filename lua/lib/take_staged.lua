-- A run that begins with the record of another: its records, which were put aside, become its hash.
local function take_staged(prefix, run_id)
  local run_key = prefix .. 'run:' .. run_id
  redis.call('RENAME', prefix .. 'fork:' .. run_id, run_key)
  redis.call('PERSIST', run_key)
end

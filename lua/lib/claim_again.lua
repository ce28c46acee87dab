-- Add the rows of the runs that this operation has claimed already, as far as the worker still holds them.
local function claim_again(prefix, runs, nonce, read, reply)
  local function add(run_id)
    local key = prefix .. 'run:' .. run_id
    local r = redis.call('HMGET', key, 's', 'f', 'e')
    if r[1] ~= 'running' or string.match(r[2], ':(.*)$') ~= nonce then return end
    local row = { run_id, r[3] }
    for place, value in ipairs(read(key)) do row[place + 2] = value end
    reply[#reply + 1] = row
  end
  for run_id in string.gmatch(runs, '%S+') do pcall(add, run_id) end
end

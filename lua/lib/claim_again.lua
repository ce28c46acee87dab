-- The row of a run that this operation has claimed already, if the worker still holds it.
local function claim_again(prefix, run_id, nonce, read)
  local key = prefix .. 'run:' .. run_id
  local r = redis.call('HMGET', key, 's', 'f', 'e')
  if r[1] ~= 'running' or string.match(r[2], ':(.*)$') ~= nonce then return nil end
  local row = { run_id, r[3] }
  for place, value in ipairs(read(key)) do row[place + 2] = value end
  return row
end

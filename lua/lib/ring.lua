-- One token is enough: an idle worker takes it and claims, and where it cannot take all, claim_runs rings again. Nobody
-- can take it before this script ends, so a bell is rung once in it.
local rung = {}
local function ring(prefix, queue)
  queue = queue or 'default'
  if rung[queue] then return end
  rung[queue] = true
  local bell = prefix .. 'bell:' .. queue
  if redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- One token is enough: an idle worker takes it and claims, and where it cannot take all, claim_runs rings again.
local function ring(prefix, queue)
  local bell = prefix .. 'bell:' .. (queue or 'default')
  if redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

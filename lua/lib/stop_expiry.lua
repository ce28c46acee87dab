-- The run is taken up: only its deadline is left to be looked after.
local function stop_expiry(prefix, run_id, deadline)
  if deadline then
    redis.call('HSET', prefix .. 'run:' .. run_id, 'd', deadline)
    redis.call('ZADD', prefix .. 'delayed', deadline, run_id)
  else
    redis.call('HDEL', prefix .. 'run:' .. run_id, 'd')
    redis.call('ZREM', prefix .. 'delayed', run_id)
  end
end

-- Presence is a worker's own word, given with each heartbeat, for how long it lives without another.
local function is_alive(prefix, worker, now)
  local until_ms = redis.call('ZSCORE', prefix .. 'workers', worker)
  return until_ms and tonumber(until_ms) > now
end

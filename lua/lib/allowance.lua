-- How many runs a release may let go now, by the server's clock: `rate` runs per 1,000 s since `at`. What was not used
-- is kept for 250 ms, or until it makes one run: after a stop of all workers there is no flood.
local function allowance(control_key, now)
  local r = redis.call('HMGET', control_key, 'rate', 'at')
  local rate = tonumber(r[1])
  if not rate then return 0, now, 1 end -- its state was lost: drive_controls makes a plain pause of it
  local noted = tonumber(r[2])
  if noted > now then -- by a clock that was ahead, and was set right since
    noted = now
    redis.call('HSET', control_key, 'at', noted)
  end
  local at = math.max(noted, now - math.max(250, math.ceil(1e6 / rate) + 1))
  return math.floor((now - at) * rate / 1e6), at, rate
end

local function spend(control_key, count, at, rate)
  if count == 0 then return end
  redis.call('HSET', control_key, 'at', string.format('%.3f', at + count * 1e6 / rate))
  redis.call('HINCRBY', control_key, 'released', count)
end

-- Whether there was less to let go than was allowed; since when, tells the end of a release.
local function note_idle(control_key, is_idle, now)
  if is_idle then
    redis.call('HSETNX', control_key, 'idle', now)
  else
    redis.call('HDEL', control_key, 'idle')
  end
end

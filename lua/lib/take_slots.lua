-- A run's limits are "<hash>:<count>:<period ms>" each; a limit of concurrency has period 0. A slot is a run's place in
-- `limit:<hash>`. That of a rate was taken when its score says, and counts for a period; one that was given to a run
-- that no worker has claimed yet counts until its claim says when.
local GIVEN = 9e15

-- Whether one more may have a slot; if not, when a rate has room by itself. What was used while the clock was ahead (it
-- was set right since) counts from now, in truth it was earlier: 1,000 slots at a time, about 2 ms.
local function has_room(holders, count, period, now)
  if period > 0 then redis.call('ZREMRANGEBYSCORE', holders, '-inf', now - period) end
  local over = redis.call('ZCARD', holders) - count
  if over < 0 then return true end
  if period == 0 then return false end
  for _, holder in ipairs(redis.call('ZRANGEBYSCORE', holders, '(' .. now, '(' .. GIVEN, 'LIMIT', 0, 1000)) do
    redis.call('ZADD', holders, now, holder)
  end
  local taken_at = tonumber(redis.call('ZRANGE', holders, over, over, 'WITHSCORES')[2])
  return false, taken_at < GIVEN and taken_at + period or now + period
end

-- A rate whose key is not seen again is forgotten; long after its period, so that no clock matters. Not while somebody
-- has been given a slot and has not used it yet: that may be whenever a worker comes.
local function keep_rate(holders, period)
  if period == 0 then return end
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')[2]
  if last and tonumber(last) == GIVEN then
    redis.call('PERSIST', holders)
  else
    redis.call('PEXPIRE', holders, period + 3600000)
  end
end

-- Give a run all the slots that it needs, or none: then it returns the hash of a limit that has none for it. A rate
-- counts first claims only. Who comes anew (`is_new`) stands behind those that wait.
local function take_slots(prefix, run_id, limits, has_begun, is_new, now)
  local taken, rates = {}, {}
  for hash, count, period in string.gmatch(limits, '(%x+):(%d+):(%d+)') do
    count, period = tonumber(count), tonumber(period)
    if period == 0 or not has_begun then
      local holders = prefix .. 'limit:' .. hash
      if not redis.call('ZSCORE', holders, run_id) then
        if is_new and redis.call('EXISTS', prefix .. 'blocked:' .. hash) == 1 then return hash end
        if not has_room(holders, count, period, now) then return hash end
      end
      taken[holders] = (is_new or period == 0) and now or GIVEN
      if period > 0 then rates[holders] = period end
    end
  end
  for holders, score in pairs(taken) do redis.call('ZADD', holders, score, run_id) end
  for holders, period in pairs(rates) do keep_rate(holders, period) end
  return nil
end

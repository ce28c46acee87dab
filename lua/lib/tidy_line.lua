-- @include lib/wake_blocked.lua

-- Whether a run still has a right to its place: in the window of its fair key until it is claimed, in a limit of
-- concurrency until it no longer runs; what was used of a rate counts whatever became of the run.
local function has_right(prefix, hash, run_id, score, kind)
  if kind == 'rate' and score < GIVEN then return true end
  if is_permit(run_id) then
    -- Its run is asked: it says nothing where it holds the permit, and gives it back where it does not.
    give_permit(prefix, hash, run_id)
    return true
  end
  local status = redis.call('HGET', prefix .. 'run:' .. run_id, 's')
  return status == 'pending' or (kind == 'concurrency' and status == 'running')
end

-- Places that are held by nobody are freed, among a hundred of them, and whoever waits goes on. Returns how many there
-- were.
local function tidy_line(prefix, hash, kind, now)
  local holders, dropped = prefix .. (kind == 'fair' and 'fair:' or 'limit:') .. hash, 0
  local found
  if redis.call('ZCARD', holders) <= 100 then
    found = redis.call('ZRANGE', holders, 0, -1, 'WITHSCORES')
  else
    found = redis.call('ZRANDMEMBER', holders, 100, 'WITHSCORES')
  end
  for place = 1, #found, 2 do
    if not has_right(prefix, hash, found[place], tonumber(found[place + 1]), kind) then
      redis.call('ZREM', holders, found[place])
      dropped = dropped + 1
    end
  end
  wake_blocked(prefix, hash, now)
  return dropped
end

-- The slots of a running run are what its hash says.
local function hold_slots(prefix, run_id, limits, now)
  local lost = false
  for hash in string.gmatch(limits, '(%x+):%d+:0') do
    if redis.call('ZADD', prefix .. 'limit:' .. hash, 'NX', now, run_id) == 1 then lost = true end
  end
  return lost
end

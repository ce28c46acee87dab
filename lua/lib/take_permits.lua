-- @include lib/leave_stream.lua
-- @include lib/permits.lua

-- What a claim does for a run whose limits are decided in several partitions; returns whether it may run. If not, it
-- waits, and has asked for the next permit that it needs.
local function take_permits(prefix, queue, entry, run_id, limits, has_begun)
  local key, permits = prefix .. 'run:' .. run_id, read_permits(limits)
  local round, given = read_round(redis.call('HGET', key, 'pm'))
  if not given then round, given = round + 1, 0 end
  local place = next_permit(permits, given, has_begun)
  if not place then
    for _, permit in ipairs(has_begun and {} or permits) do
      if permit.is_rate then tell_home(prefix, 'hold_permit', run_id, round, permit) end
    end
    return true
  end
  leave_stream(prefix, queue, entry)
  redis.call('HSET', key, 's', 'waiting:limited', 'pm', string.format('%d %d', round, given))
  redis.call('HDEL', key, 'e')
  ask_permit(prefix, run_id, round, permits[place])
  return false
end

-- Of a run that waits for a permit, or holds some: say again what it has said. Returns whether that was lost.
local function say_again(prefix, run_id, run)
  -- Not while there is much else to be done, such as for a partition that is away.
  if redis.call('XLEN', prefix .. 'outbox') >= 1000 then return false end
  local permits = read_permits(run.limits)
  local round, given = read_round(redis.call('HGET', prefix .. 'run:' .. run_id, 'pm'))
  if not given then return run.status == 'waiting:limited' end
  if run.status == 'waiting:limited' then
    local place = next_permit(permits, given, run.was_claimed)
    if not place then return true end
    ask_permit(prefix, run_id, round, permits[place])
  end
  for place = 1, given do
    if not permits[place].is_rate then tell_home(prefix, 'hold_permit', run_id, round, permits[place]) end
  end
  return false
end

-- @include lib/rules.lua

-- When a start that was noted begins. Where the clock was ahead then (it was set right since), no later than if it were
-- noted now. Stores of the first version do not say by how much it was delayed.
local function begins_at(noted, now)
  local at, delay = string.match(noted, '^(%d+) (%d+) ')
  if not at then return tonumber(string.match(noted, '^%d+')) end
  return math.min(tonumber(at), now + delay)
end

-- throttle <hash> <limit> <per_ms> <delay | existing | reject>: of the key's starts, so many in any window. The list
-- holds the last `limit` of them, each "<start_ms> <delay_ms> <run_id>" in their order: the first one's place is free
-- again a window after it. The list is kept for a minute longer than it says anything.
rules.throttle = function(prefix, new, place, now)
  local key, limit = prefix .. 'throttle:' .. ARGV[place], -ARGV[place + 1]
  local per, on_excess = ARGV[place + 2], ARGV[place + 3]
  local first = redis.call('LINDEX', key, limit)
  local free = first and begins_at(first, now) + per or now
  if free > now and on_excess ~= 'delay' then
    local run_id = string.match(redis.call('LINDEX', key, -1), '%S+$')
    if on_excess == 'existing' then return 4, { 'existing', run_id } end
    return 4, { 'throttled', run_id, string.format('%d', free) }
  end
  if free > now then new.available = free end
  return 4, nil, function()
    local starts = new.available or now
    redis.call('RPUSH', key, string.format('%d %d %s', starts, starts - now, new.run_id))
    redis.call('LTRIM', key, limit, -1)
    redis.call('PEXPIRE', key, starts - now + per + 60000)
  end
end

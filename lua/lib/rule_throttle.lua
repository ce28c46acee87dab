-- @include lib/rules.lua

-- Starts that were noted while the clock was ahead (it was set right since) count as if they were noted now: in truth
-- they were earlier. 1,000 at a time, about 2 ms. Stores of the first version do not say by how much one was delayed.
local function set_right(key, limit, now)
  for place, noted in ipairs(redis.call('LRANGE', key, limit, math.min(-1, limit + 999))) do
    local at, delay, run_id = string.match(noted, '^(%d+) (%d+) (%S+)$')
    if at and at - delay > now then
      redis.call('LSET', key, limit + place - 1, string.format('%d %s %s', now + delay, delay, run_id))
    end
  end
end

-- When the start begins whose place is free again first; nothing where there is a free place.
local function first_start(key, limit, now)
  local noted = redis.call('LINDEX', key, limit)
  local at, delay = string.match(noted or '', '^(%d+) (%d+) ')
  if at and at - delay > now then
    set_right(key, limit, now)
    return now + delay
  end
  return noted and tonumber(string.match(noted, '^%d+'))
end

-- throttle <hash> <limit> <per_ms> <delay | existing | reject>: of the key's starts, so many in any window. The list
-- holds the last `limit` of them, each "<start_ms> <delay_ms> <run_id>" in their order: the first one's place is free
-- again a window after it. The list is kept for a minute longer than it says anything.
rules.throttle = function(prefix, new, place, now)
  local key, limit = prefix .. 'throttle:' .. ARGV[place], -ARGV[place + 1]
  local per, on_excess = ARGV[place + 2], ARGV[place + 3]
  local first = first_start(key, limit, now)
  local free = first and first + per or now
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

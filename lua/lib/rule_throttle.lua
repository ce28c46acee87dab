-- @include lib/rules.lua

-- throttle <hash> <limit> <per_ms> <delay | existing | reject>: of the key's starts, so many in any window. The list
-- holds the last `limit` of them, each "<start_ms> <run_id>" in their order: the first one's place is free again a
-- window after it. The list is kept for a minute longer than it says anything.
rules.throttle = function(prefix, new, place, now)
  local key, limit = prefix .. 'throttle:' .. ARGV[place], -ARGV[place + 1]
  local per, on_excess = ARGV[place + 2], ARGV[place + 3]
  local first = redis.call('LINDEX', key, limit)
  local free = first and string.match(first, '^%d+') + per or now
  if free > now and on_excess ~= 'delay' then
    local run_id = string.match(redis.call('LINDEX', key, -1), '%S+$')
    if on_excess == 'existing' then return 4, { 'existing', run_id } end
    return 4, { 'throttled', run_id, string.format('%d', free) }
  end
  if free > now then new.available = free end
  return 4, nil, function()
    local starts = new.available or now
    redis.call('RPUSH', key, string.format('%d %s', starts, new.run_id))
    redis.call('LTRIM', key, limit, -1)
    redis.call('PEXPIRE', key, starts - now + per + 60000)
  end
end

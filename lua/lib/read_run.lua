-- How a claim reads runs: a whole hash where it is small, else without its input and its records, which are then read
-- afterwards, in pieces. No more than `run_bytes` of one run, and `all_bytes` of all.
local function reader(run_bytes, all_bytes)
  return function(key)
    local bytes = tonumber(string.match(redis.call('HGET', key, 'h') or '0:0', ':(%d+)$'))
    if bytes <= run_bytes and bytes <= all_bytes then
      all_bytes = all_bytes - bytes
      return redis.call('HGETALL', key)
    end
    local wanted = {
      'w', 'v', 'q', 'c', 'a', 's', 'e', 'f', 'h', 'x', 'dl', 'm', 'pa', 'uq', 'xp', 'tg', 'sc', 'sa', 'lk', 'fp', 'ev',
      'sg', 'vd', 'ct', 'av',
      'tc', 'tl'
    }
    local fields = {}
    for place, value in ipairs(redis.call('HMGET', key, unpack(wanted))) do
      if value then
        fields[#fields + 1] = wanted[place]
        fields[#fields + 1] = value
      end
    end
    return fields
  end
end

-- A new run that is not marked as large is small: that spares the look at its size.
local function read_small(key) return redis.call('HGETALL', key) end

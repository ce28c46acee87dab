-- A run is registered no longer for the signals whose name has this hash: off the list first, which can fail.
local function leave_signal(prefix, run_id, hash)
  local key, others = prefix .. 'run:' .. run_id, {}
  for name in string.gmatch(redis.call('HGET', key, 'sg') or '', '%S+') do
    if name ~= hash then others[#others + 1] = name end
  end
  redis.call('ZREM', prefix .. 'signal:' .. hash, run_id)
  if #others > 0 then
    redis.call('HSET', key, 'sg', table.concat(others, ' '))
  else
    redis.call('HDEL', key, 'sg')
  end
end

-- @include lib/signal_number.lua

-- A broadcast comes to this partition: the first time it gets its number here, and is kept until `until_ms` for those
-- who start to wait later, if it is to be. It is known again for `ms`.
local function open_cast(prefix, cast, now, ms)
  local key, kept = prefix .. 'cast:' .. cast.once, prefix .. 'kept:' .. cast.hash
  local left = cast.until_ms and cast.until_ms - now or 0
  cast.is_kept = left > 0
  cast.number = redis.call('HGET', key, 'n')
  if cast.number then return end
  cast.number = string.format('%d', signal_number(prefix))
  redis.call('HSET', key, 'n', cast.number)
  redis.call('PEXPIRE', key, ms)
  if cast.is_kept then
    redis.call('HSET', kept, cast.number, string.format('%d', cast.until_ms) .. '\n' .. cast.item)
    if redis.call('PTTL', kept) < left then redis.call('PEXPIRE', kept, left) end
  end
end

-- A claim reads the lanes of those priorities that were ever used in a queue, and no others.
local function use_lane(prefix, queue, lane)
  if lane == '0' then return end
  local used = redis.call('HGET', prefix .. 'lanes', queue or 'default') or ''
  if not string.find(used, lane, 1, true) then
    redis.call('HSET', prefix .. 'lanes', queue or 'default', used .. lane)
  end
end

-- A claim reads the lanes of those priorities that were ever used in a queue, and no others. Returns whether it is new.
local function use_lane(prefix, queue, lane)
  if lane == '0' then return false end
  local used = redis.call('HGET', prefix .. 'lanes', queue or 'default') or ''
  if string.find(used, lane, 1, true) then return false end
  redis.call('HSET', prefix .. 'lanes', queue or 'default', used .. lane)
  return true
end

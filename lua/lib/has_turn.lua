-- @include lib/has_ended.lua

-- Whether a run of a schedule need not wait for another of its runs; then it is the one that goes on from here.
local function has_turn(prefix, schedule, run_id)
  local key = prefix .. 'schedule:' .. schedule
  local r = redis.call('HMGET', key, 'rv', 'on')
  if not r[1] then return true end
  if r[2] and r[2] ~= run_id and not has_ended(prefix, r[2]) then return false end
  redis.call('HSET', key, 'on', run_id)
  return true
end

-- When a schedule is looked at next. One that is paused, or has no tick any more, stays listed: as far away as a number
-- is kept exactly. One that is listed at 0, because a run of it was ended, stays there until due_schedules has looked.
local never = '9007199254740991'
local function set_next(prefix, schedule, next_ms, looked)
  local listing = prefix .. 'schedules'
  if not looked and redis.call('ZSCORE', listing, schedule) == '0' then return end
  redis.call('ZADD', listing, next_ms == '' and never or next_ms, schedule)
end

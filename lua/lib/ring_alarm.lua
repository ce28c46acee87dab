-- Tell the watcher of the partition, who sleeps until the next due time, that there is something earlier. One token is
-- enough.
local function ring_alarm(prefix)
  local alarm = prefix .. 'alarm'
  if redis.call('EXISTS', alarm) == 0 then redis.call('LPUSH', alarm, '1') end
end

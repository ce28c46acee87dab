-- @include lib/ring_alarm.lua

-- One member a run: the earliest of its due times and its deadline. The watcher of the partition sleeps until the
-- first of them, so it is told when that one comes earlier.
local function set_due(prefix, run_id, due_ms)
  local delayed = prefix .. 'delayed'
  redis.call('ZADD', delayed, due_ms, run_id)
  if redis.call('ZRANGE', delayed, 0, 0)[1] == run_id then ring_alarm(prefix) end
end

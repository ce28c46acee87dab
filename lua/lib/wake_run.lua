-- @include lib/earlier.lua
-- @include lib/enter_stream.lua
-- @include lib/is_large.lua
-- @include lib/leave_place.lua
-- @include lib/set_due.lua

-- Bring a waiting run back to a stream: woken runs have their own, read before new ones.
local function wake_run(prefix, run_id, run)
  local key = prefix .. 'run:' .. run_id
  local lane = run.status == 'waiting:start' and '0' or 'w'
  local large = lane == '0' and is_large(redis.call('HSTRLEN', key, 'i'))
  redis.call('HSET', key, 's', 'pending', 'e', enter_stream(prefix, run.queue, lane, run_id, large))
  leave_place(prefix, run_id, run)
  local due_ms = earlier(run.deadline, run.expires)
  if due_ms then
    redis.call('HSET', key, 'd', due_ms)
    set_due(prefix, run_id, due_ms)
  elseif run.due then
    redis.call('HDEL', key, 'd')
    redis.call('ZREM', prefix .. 'delayed', run_id)
  end
end

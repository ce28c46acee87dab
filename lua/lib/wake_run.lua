-- @include lib/earlier.lua
-- @include lib/enter_stream.lua
-- @include lib/is_large.lua
-- @include lib/is_stuck.lua
-- @include lib/leave_place.lua
-- @include lib/leave_stream.lua
-- @include lib/set_due.lua
-- @include lib/lines.lua

-- Bring a waiting run back to a stream: woken runs have their own, read before new ones. What was held or paused before
-- anybody claimed it has the priority and the fair key of a new one.
local function wake_run(prefix, run_id, run)
  local key = prefix .. 'run:' .. run_id
  local entry
  if run.status == 'waiting:start' or not run.was_claimed and (run.priority or run.fair) then
    local large = is_large(redis.call('HSTRLEN', key, 'i'))
    if run.priority or run.fair then
      entry = lines().enter_lane(prefix, run_id, run.queue, run.priority, not run.was_claimed and run.fair, run.created, large)
    else
      entry = enter_stream(prefix, run.queue, '0', run_id, large)
    end
  else
    entry = enter_stream(prefix, run.queue, 'w', run_id)
  end
  if entry then
    redis.call('HSET', key, 's', 'pending', 'e', entry)
  else
    redis.call('HSET', key, 's', 'waiting:limited', 'ls', run.fair)
  end
  if is_stuck(run.status) then redis.call('HDEL', key, 'er') end
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

-- @include lib/claim_entry.lua
-- @include lib/release_id.lua

-- While something is paused: claim the run that an entry names, or hold it back where its workflow is paused. What a
-- release has let go carries its id, and passes. The runs that were created first are let go first.
local function claim_or_hold(prefix, queue, entry, run_id, operation, stamp, read, controls)
  local key = prefix .. 'run:' .. run_id
  local r = redis.call('HMGET', key, 'w', 's', 'e', 'rl', 'c')
  local state = r[1] and controls['w:' .. r[1]]
  local release = release_id(state)
  if r[1] and release_id(controls['q:' .. queue]) then
    redis.call('HSET', prefix .. 'control:q:' .. queue, 'seen:' .. r[1], '1')
  end
  local is_held = state and state ~= 'resuming' and not (release and r[4] == release)
  if not is_held or r[2] ~= 'pending' or r[3] ~= entry then
    return claim_entry(prefix, queue, entry, run_id, operation, stamp, read)
  end
  local run = when_due().load_run(prefix, run_id)
  redis.call('HSET', key, 's', 'waiting:held')
  if run.limits or run.fair then when_due().lines().leave_limits(prefix, run_id, run, tonumber(stamp)) end
  redis.call('HDEL', key, 'e')
  leave_stream(prefix, queue, entry)
  redis.call('ZADD', prefix .. 'held:' .. r[1], r[5], run_id)
end

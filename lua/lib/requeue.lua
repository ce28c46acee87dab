-- @include lib/enter_stream.lua
-- @include lib/leave_stream.lua

-- Give a run a new entry, among those that are read first, under a fence that shuts its last holder out.
local function requeue(prefix, run_id, queue, entry, fence)
  local key = prefix .. 'run:' .. run_id
  if entry then leave_stream(prefix, queue, entry) end
  redis.call('HSET', key, 's', 'pending', 'f', fence, 'e', enter_stream(prefix, queue, 'w', run_id))
  redis.call('HDEL', key, 'p')
end

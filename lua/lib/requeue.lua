-- @include lib/enter_stream.lua
-- @include lib/leave_stream.lua

-- Give a run a new entry, among those that are read first, under a fence that shuts its last holder out. The new one
-- comes first: where it cannot be made (its key is of another type), the run is what it was. An old one that cannot be
-- taken away is dropped by whoever reads it; one whose stream was lost in this millisecond has the same id.
local function requeue(prefix, run_id, queue, entry, fence)
  local key, new = prefix .. 'run:' .. run_id, enter_stream(prefix, queue, 'w', run_id)
  redis.call('HSET', key, 's', 'pending', 'f', fence, 'e', new)
  redis.call('HDEL', key, 'p')
  if entry and entry ~= new then pcall(leave_stream, prefix, queue, entry) end
end

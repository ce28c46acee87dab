-- @include lib/ring.lua

-- The entry carries the run id only, and `b` where the run is too large to be read at once by whoever claims it.
local function enter_stream(prefix, queue, lane, run_id, large)
  local stream = prefix .. 'q:' .. (queue or 'default') .. ':' .. lane
  local id
  if large then
    id = redis.call('XADD', stream, '*', 'r', run_id, 'b', '1')
  else
    id = redis.call('XADD', stream, '*', 'r', run_id)
  end
  ring(prefix, queue)
  return lane .. ':' .. id
end

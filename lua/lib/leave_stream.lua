-- @include lib/stream_of.lua

local function leave_stream(prefix, queue, entry)
  local stream, id = stream_of(prefix, queue, entry), string.sub(entry, 3)
  redis.call('XACK', stream, 'workers', id)
  redis.call('XDEL', stream, id)
end

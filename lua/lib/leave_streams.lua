-- Many entries at once: by the end of their stream's key, the ids of those that leave it.
local function leave_streams(prefix, left)
  for name, ids in pairs(left) do
    local stream = prefix .. 'q:' .. name
    redis.pcall('XACK', stream, 'workers', unpack(ids))
    redis.pcall('XDEL', stream, unpack(ids))
  end
end

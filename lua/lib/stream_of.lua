-- A run's entry is "<lane>:<stream id>"; the lane is the last part of its stream's key: a priority, or w for woken runs.
local function stream_of(prefix, queue, entry)
  return prefix .. 'q:' .. (queue or 'default') .. ':' .. string.sub(entry, 1, 1)
end

-- @include lib/enter_stream.lua
-- @include lib/is_large.lua
-- @include lib/use_lane.lua

-- Of the runs with one fair key, no more than four stand in the streams; the others wait in a line of their own. Each
-- that is claimed makes room for the next, which enters at the end: so the keys take turns.
local function window_is_open(prefix, fair)
  return redis.call('ZCARD', prefix .. 'fair:' .. fair) < 4
end

local function enter_window(prefix, fair, run_id, queue, priority, created)
  redis.call('ZADD', prefix .. 'fair:' .. fair, created, run_id)
  use_lane(prefix, queue, priority)
  local large = is_large(redis.call('HSTRLEN', prefix .. 'run:' .. run_id, 'i'))
  return enter_stream(prefix, queue, priority, run_id, large)
end

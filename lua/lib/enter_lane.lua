-- @include lib/block_run.lua
-- @include lib/enter_stream.lua
-- @include lib/fair_window.lua

-- Bring a run that has not begun yet to the stream of its priority and return its entry; nil where others of its fair
-- key are before it, and it stands in their line now.
local function enter_lane(prefix, run_id, queue, priority, fair, created, large)
  priority = priority or '0'
  if fair then
    if redis.call('EXISTS', prefix .. 'blocked:' .. fair) == 1 or not window_is_open(prefix, fair) then
      line_up(prefix, fair, run_id, priority, created)
      return nil
    end
    redis.call('ZADD', prefix .. 'fair:' .. fair, created, run_id)
  end
  use_lane(prefix, queue, priority)
  return enter_stream(prefix, queue, priority, run_id, large)
end

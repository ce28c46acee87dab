-- @include lib/block_run.lua
-- @include lib/enter_stream.lua
-- @include lib/fair_window.lua
-- @include lib/line_timers.lua
-- @include lib/take_slots.lua

-- A run's line has moved up to it: it leaves the line for its stream, or for the line of another limit that is full.
local function leave_line(prefix, hash, run_id, run, now)
  local key = prefix .. 'run:' .. run_id
  redis.call('ZREM', prefix .. 'blocked:' .. hash, run_id)
  local full = run.limits and not run.is_fair and take_slots(prefix, run_id, run.limits, run.has_begun, false, now)
  if full then
    line_up(prefix, full, run_id, run.priority, run.created)
    redis.call('HSET', key, 'ls', full)
    return full
  end
  local entry
  if run.is_fair then
    entry = enter_window(prefix, hash, run_id, run.queue, run.priority or '0', run.created)
  else
    entry = enter_stream(prefix, run.queue, 'w', run_id)
  end
  redis.call('HSET', key, 's', 'pending', 'e', entry)
  redis.call('HDEL', key, 'ls')
  restore_timer(prefix, run_id, run)
end

-- Whether a line has room for who is next in it; if not, and that comes with time, the time.
local function may_leave(prefix, hash, run, now)
  if run.is_fair then return window_is_open(prefix, hash) end
  local count, period = string.match(run.limits or '', hash .. ':(%d+):(%d+)')
  if not count then return true end
  return has_room(prefix .. 'limit:' .. hash, tonumber(count), tonumber(period), now)
end

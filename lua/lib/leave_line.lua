-- @include lib/block_run.lua
-- @include lib/enter_stream.lua
-- @include lib/fair_window.lua
-- @include lib/take_slots.lua

-- A run's line has moved up to it: it leaves the line for its stream, or for the line of another limit that is full,
-- which is returned.
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
end

-- Whether a line has room for who is next in it; if not, and that comes with time, the time.
local function may_leave(prefix, hash, run, now)
  if run.is_fair then return window_is_open(prefix, hash) end
  local count, period = string.match(run.limits or '', hash .. ':(%d+):(%d+)')
  if not count then return true end
  return has_room(prefix .. 'limit:' .. hash, tonumber(count), tonumber(period), now)
end

-- Let the run that is next in a line leave it, where there is room. Returns whether the line has moved; if not, and room
-- comes with time, the time; and the hash of the line to which it went, where it did.
local function let_forward(prefix, hash, run_id, now)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'ls', 'lk', 'fp', 'q', 'pr', 'a', 'c')
  if r[1] ~= 'waiting:limited' or r[2] ~= hash then
    redis.call('ZREM', prefix .. 'blocked:' .. hash, run_id)
    return true
  end
  local run = {
    limits = r[3], is_fair = r[4] == hash, queue = r[5] or nil, priority = r[6] or nil, has_begun = r[7], created = r[8]
  }
  local room, free_at = may_leave(prefix, hash, run, now)
  if not room then return false, free_at end
  return true, nil, leave_line(prefix, hash, run_id, run, now)
end

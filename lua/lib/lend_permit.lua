-- @include lib/post.lua
-- @include lib/take_slots.lua

-- In a line, and among the holders of a limit, stands the id of a run of this partition, or the permit of one of any.
local function is_permit(holder) return string.find(holder, '/', 1, true) ~= nil end

-- Tell a run of a permit that it has here; it tells us where it does not want it.
local function give_permit(prefix, hash, permit)
  local run_id = string.match(permit, '^[^/]+')
  local home = string.match(prefix, '(%d+)}:$')
  post(prefix, 'do', 'give_permit', 'run', run_id, 'home', home, 'hash', hash, 'permit', permit)
end

-- Its run has the slot, whatever is known of it here. One that was used before counts from then; one that was only given,
-- or is not known, counts from now.
local function hold_slot(prefix, hash, period, permit, now)
  local holders = prefix .. 'limit:' .. hash
  if tonumber(redis.call('ZSCORE', holders, permit) or GIVEN) == GIVEN then redis.call('ZADD', holders, now, permit) end
  keep_rate(holders, tonumber(period))
end

-- A line has moved up to a permit: it is given to its run, wherever that lives, where there is room for it. Returns
-- whether there is; if not, and that comes with time, the time.
local function lend_permit(prefix, hash, permit, now)
  local holders = prefix .. 'limit:' .. hash
  local count, period = string.match(permit, ':(%d+):(%d+)$')
  count, period = tonumber(count), tonumber(period)
  local room, free_at = has_room(holders, count, period, now)
  if not room then return false, free_at end
  redis.call('ZREM', prefix .. 'blocked:' .. hash, permit)
  redis.call('ZADD', holders, period == 0 and now or GIVEN, permit)
  keep_rate(holders, period)
  give_permit(prefix, hash, permit)
  return true
end

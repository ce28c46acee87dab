-- What few claims need: to wake runs, and to look at one from outside. As in lines.lua, its functions are made when the
-- first run comes along that needs one, so that others do not pay for them.
local outside
local function when_due()
  if outside then return outside end
-- @include lib/wake_one.lua
-- @include lib/end_if_late.lua
  outside = {
    wake_one = wake_one, load_run = load_run, end_if_late = end_if_late, end_if_expired = end_if_expired, lines = lines,
    is_refilled = function()
      local is_refilled = made and made.refilled
      if is_refilled then made.refilled = false end
      return is_refilled
    end
  }
  return outside
end

-- One broken hash must not stop the others: it is looked at again in a minute.
local function wake_due(prefix, now, limit)
  local due = redis.call('ZRANGEBYSCORE', prefix .. 'delayed', '-inf', now, 'LIMIT', 0, limit)
  local wake_one = due[1] and when_due().wake_one
  for _, run_id in ipairs(due) do
    if not pcall(wake_one, prefix, run_id, now) then
      redis.call('ZADD', prefix .. 'delayed', now + 60000, run_id)
    end
  end
  return #due
end

-- @include lib/leave_line.lua
-- @include lib/lend_permit.lua
-- @include lib/next_blocked.lua
-- @include lib/set_due.lua

-- Wherever a limit may have room: let go on who waits for it, for as long as it has. A bounded number of steps: where
-- they are not enough, and where room comes with time, a timer of the line brings the next ones. It stands in `delayed`
-- beside those of runs.
local function wake_blocked(prefix, first, now)
  local todo, steps = { first }, 0
  while todo[1] do
    local hash = todo[#todo]
    local waiting, timer = next_blocked(prefix, hash, now), 'line:' .. hash
    local room, free_at, onward
    steps = steps + 1
    if not waiting then
      redis.call('ZREM', prefix .. 'delayed', timer)
    elseif steps > 30 then
      free_at = now
    elseif is_permit(waiting) then
      room, free_at = lend_permit(prefix, hash, waiting, now)
    else
      room, free_at, onward = let_forward(prefix, hash, waiting, now)
    end
    if onward then
      todo[#todo + 1] = onward
    elseif not room then
      if free_at then set_due(prefix, timer, free_at) end
      todo[#todo] = nil
    end
  end
end

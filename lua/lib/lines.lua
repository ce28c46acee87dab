-- Flow control. Each call of a script makes its functions anew, a thousand instructions for each: these are made when
-- the first run with a limit, a priority or a fair key comes along, so that others do not pay for them. An include is
-- inlined once: a script that needs one of these by itself names it before whatever includes this.
local made
local function lines()
  if made then return made end
-- @include lib/take_slots.lua
-- @include lib/wake_blocked.lua
-- @include lib/enter_lane.lua
-- @include lib/free_slots.lua
-- @include lib/leave_limits.lua
-- @include lib/take_limits.lua
-- @include lib/tidy_line.lua
  made = {
    line_up = line_up, wake_blocked = wake_blocked, enter_lane = enter_lane, free_slots = free_slots,
    free_noted = free_noted, leave_limits = leave_limits, take_limits = take_limits,
    tidy_line = tidy_line, hold_slots = hold_slots, is_spread = is_spread, say_again = say_again,
    give_permit = give_permit, free_slot = free_slot, hold_slot = hold_slot
  }
  return made
end

-- What claims need where somebody has given an order: a queue has priorities, or something is paused or let go slowly.
-- As in lines.lua, its functions are made then, so that others do not pay for them.
local function under_orders()
-- @include lib/claim_or_hold.lua
-- @include lib/lanes_by_turn.lua
-- @include lib/read_controls.lua
-- @include lib/read_slowly.lua
  return {
    claim_or_hold = claim_or_hold, lanes_by_turn = lanes_by_turn, read_controls = read_controls, read_slowly = read_slowly
  }
end

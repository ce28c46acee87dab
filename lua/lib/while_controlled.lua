-- How runs are claimed and read while something is paused or let go slowly. Made then, as in lines.lua.
local function while_controlled()
-- @include lib/claim_or_hold.lua
-- @include lib/read_slowly.lua
  return claim_or_hold, read_slowly
end

-- @include lib/effects.lua
-- @include lib/orphan_kids.lua

-- orphan: the run ends, or is being undone, and may leave children behind.
effects.orphan = function(prefix, run_id)
  orphan_kids(prefix, run_id)
  return 0
end

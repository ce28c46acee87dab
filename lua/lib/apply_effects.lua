-- @include lib/effect_release.lua
-- @include lib/effect_take.lua

-- What a commit does besides its records. It comes before them: where one fails, nothing is recorded, and the next
-- holder brings it again.
local function apply_effects(prefix, run_id, first, last, now)
  while first <= last do
    first = first + 1 + effects[ARGV[first]](prefix, run_id, first + 1, now)
  end
end

-- @include lib/effect_release.lua
-- @include lib/effect_free.lua
-- @include lib/effect_output.lua
-- @include lib/effect_take.lua
-- @include lib/effect_kid.lua
-- @include lib/effect_drop.lua
-- @include lib/effect_orphan.lua
-- @include lib/effect_compensable.lua
-- @include lib/effect_verdict.lua
-- @include lib/effect_tell.lua
-- @include lib/effect_wait.lua
-- @include lib/effect_unwait.lua

-- What a commit does besides its records. It comes before them: where one fails, nothing is recorded, and the next
-- holder brings it again. `ending` is how the run ends with this step, where it does.
local function apply_effects(prefix, run_id, first, last, now, ending)
  while first <= last do
    first = first + 1 + effects[ARGV[first]](prefix, run_id, first + 1, now, ending)
  end
end

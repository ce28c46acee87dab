-- What few calls of holders need: the effects by their verbs, and the verdict of a deadline that has passed. As in
-- lines.lua, its functions are made when the first run comes along that needs one, so that others do not pay for them.
local seldom
local function when_needed()
  if seldom then return seldom end
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
-- @include lib/effect_redis.lua
-- @include lib/effect_leave.lua
-- @include lib/end_if_late.lua
  seldom = { effects = effects, end_if_late = end_if_late, lines = lines, freeing = freeing }
  return seldom
end

-- What a commit does besides its records. It comes before them: where one fails, nothing is recorded, and the next
-- holder brings it again. `ending` is how the run ends with this step, where it does.
local function apply_effects(prefix, run_id, first, last, now, ending)
  if first > last then return end
  local effects = when_needed().effects
  while first <= last do
    first = first + 1 + effects[ARGV[first]](prefix, run_id, first + 1, now, ending)
  end
end

-- A deadline that has passed is the verdict, whatever the holder brings. Returns whether it was.
local function is_over(prefix, run_id, deadline, now)
  return deadline and tonumber(deadline) <= now and when_needed().end_if_late(prefix, run_id, deadline, now)
end

-- Of runs whose holders said `free`, those that no longer run make room for others.
local function free_slots_noted(prefix, now)
  if seldom and seldom.freeing[1] then seldom.lines().free_noted(prefix, seldom.freeing, now) end
end

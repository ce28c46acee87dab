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
-- @include lib/effect_trace.lua
-- @include lib/end_if_late.lua

-- What a commit does besides its records. It comes before them: where one fails, nothing is recorded, and the next
-- holder brings it again. What it takes away is still there for that one: it goes with the function that is returned,
-- which is called after the records. `ending` is how the run ends with this step, where it does.
local function apply_effects(prefix, run_id, first, last, now, ending)
  local removals = {}
  while first <= last do
    local count, removal = effects[ARGV[first]](prefix, run_id, first + 1, now, ending)
    first = first + 1 + count
    removals[#removals + 1] = removal
  end
  return function()
    for _, remove in ipairs(removals) do remove() end
  end
end

-- Of runs whose holders said `free`, those that no longer run make room for others.
local function free_slots_noted(prefix, now)
  if freeing[1] then lines().free_noted(prefix, freeing, now) end
end

  seldom = { apply_effects = apply_effects, end_if_late = end_if_late, free_slots_noted = free_slots_noted }
  return seldom
end

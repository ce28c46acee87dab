-- @include lib/allowance.lua
-- @include lib/read_new.lua
-- @include lib/release_id.lua

-- New entries of a controlled queue: none while it is paused, no more than a release allows while it is let go slowly.
local function read_slowly(prefix, queue, stream, state, worker, room, now)
  if not release_id(state) then return {} end
  local control_key = prefix .. 'control:q:' .. queue
  local allowed, at, rate = allowance(control_key, now)
  local most = math.min(allowed, room)
  if most <= 0 then return {} end
  local entries = read_new(stream, worker, most)
  spend(control_key, #entries, at, rate)
  -- The stream of woken runs is read first: where the other one has less than is left, both are empty.
  if #entries == most or string.sub(stream, -1) ~= 'w' then note_idle(control_key, #entries < most, now) end
  return entries
end

-- By `q:<queue>` and `w:<workflow>`, what is paused here or let go slowly; nil where nothing is, as a rule.
-- A word: paused, stopped, resuming, or releasing:<id>.
local function read_controls(prefix)
  local flat = redis.call('HGETALL', prefix .. 'controls')
  if not flat[1] then return nil end
  local controls = {}
  for place = 1, #flat, 2 do controls[flat[place]] = flat[place + 1] end
  return controls
end

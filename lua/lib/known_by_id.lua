-- What a start with this id was answered, if it was made before: it created its run, which may be deleted by now, or
-- joined another.
local function known_by_id(prefix, run_id)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'av')
  if r[1] then return { 'created', run_id, r[2] or '' } end
  local joined = redis.call('GET', prefix .. 'joined:' .. run_id)
  if joined then return { 'debounced', string.match(joined, '^(%S+) (%d+)$') } end
  return redis.call('EXISTS', prefix .. 'idem:' .. run_id) == 1 and { 'created', run_id, '' } or nil
end

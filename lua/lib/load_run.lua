-- What the transitions from outside need to know of a run; nil where it is not stored.
local function load_run(prefix, run_id)
  local fields = {
    's', 'e', 'f', 'w', 'q', 'd', 'dl', 'x', 't', 'p', 'uq', 'xp', 'a', 'pa', 'sc', 'lk', 'fp', 'pr', 'ls', 'c', 'cp',
    'vd'
  }
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, unpack(fields))
  if not r[1] then return nil end
  return {
    status = r[1], entry = r[2] or nil, fence = r[3] or nil, workflow = r[4], queue = r[5] or nil,
    due = r[6] and tonumber(r[6]) or nil, deadline = r[7] and tonumber(r[7]) or nil,
    crashes = tonumber(r[8] or '0'), ended_at = r[9],
    has_begun = r[10] ~= '', was_claimed = r[13] and true or false, unique = r[11] or nil, parent = r[14] or nil,
    schedule = r[15] or nil,
    -- It says until when somebody must take the run up; then it says nothing any more.
    expires = r[12] and not r[13] and tonumber(r[12]) or nil,
    limits = r[16] or nil, fair = r[17] or nil, priority = r[18] or nil, blocked_on = r[19] or nil, created = r[20],
    is_compensable = r[21] ~= false, verdict = r[22] or nil
  }
end

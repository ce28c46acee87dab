-- @include lib/minute_key.lua

-- Count a run that was ended from outside, of which no worker tells. Where this cannot be written, it has ended all the
-- same: a chart is no reason to go on.
local function count_end(prefix, workflow, status, now)
  local key = minute_key(prefix, now)
  redis.pcall('HINCRBY', key, string.sub(status, 1, 1) .. ' ' .. workflow, 1)
  redis.pcall('PEXPIRE', key, 90000000) -- 25 h: KEPT_MS of minutes.py
end

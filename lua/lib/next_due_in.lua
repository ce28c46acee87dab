-- How long the watcher may sleep: ms until the first due time, -1 where there is none.
local function ms_until(first, now)
  return first[2] and math.max(0, math.ceil(tonumber(first[2])) - now) or -1
end

local function first_due(prefix)
  return redis.call('ZRANGE', prefix .. 'delayed', 0, 0, 'WITHSCORES')
end

-- How long the watcher may sleep: ms until the first due time, -1 where there is none.
local function next_due_in(prefix, now)
  local first = redis.call('ZRANGE', prefix .. 'delayed', 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, math.ceil(tonumber(first[2])) - now) or -1
end

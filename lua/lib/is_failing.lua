-- Whether failures have returned here: among the runs that ended since a release began, as their listings count them.
-- Those of a queue are runs of the workflows that it was seen to serve.
local function is_failing(prefix, control, control_key)
  local r = redis.call('HMGET', control_key, 'began', 'ratio')
  local succeeded, failed = 0, 0
  local function count(workflow)
    local done = prefix .. 'done:' .. workflow
    succeeded = succeeded + redis.call('ZCOUNT', done .. ':succeeded', '(' .. r[1], '+inf')
    failed = failed + redis.call('ZCOUNT', done .. ':failed', '(' .. r[1], '+inf')
  end
  if string.sub(control, 1, 1) == 'w' then
    count(string.sub(control, 3))
  else
    for _, name in ipairs(redis.call('HKEYS', control_key)) do
      if string.sub(name, 1, 5) == 'seen:' then count(string.sub(name, 6)) end
    end
  end
  redis.call('HSET', control_key, 'ok', succeeded, 'bad', failed)
  local ratio, ended = tonumber(r[2]), succeeded + failed
  return ratio > 0 and failed > 0 and failed * 1000 >= ratio * ended
end

#!lua flags=no-writes
-- What lies in a queue: how many runs, since when, and how many of them each worker holds.
--
-- Replies  ok <runs> <ms when the oldest entry came | ''> <worker> <runs it holds> ...

local prefix = KEYS[1]   -- str   of every key in the partition
local queue  = ARGV[1]   -- str

local runs, oldest, held = 0, nil, {}
for lane in string.gmatch('w0' .. (redis.call('HGET', prefix .. 'lanes', queue) or ''), '.') do
  local stream = prefix .. 'q:' .. queue .. ':' .. lane
  runs = runs + redis.call('XLEN', stream)
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)) do
    local came = tonumber(string.match(entry[1], '^%d+'))
    oldest = math.min(oldest or came, came)
  end
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
  for _, item in ipairs(consumers.err and {} or consumers) do held[item[2]] = (held[item[2]] or 0) + item[4] end
end
local reply = { 'ok', runs, oldest and string.format('%d', oldest) or '' }
for worker, count in pairs(held) do
  if count > 0 then reply[#reply + 1], reply[#reply + 2] = worker, count end
end
return reply

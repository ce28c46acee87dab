#!lua flags=allow-oom
-- A worker says good-bye. What it still holds is found by upkeep: a consumer with pending entries is never deleted,
-- because that would drop them.
--
-- Replies  ok

local prefix = KEYS[1]   -- str   of every key in the partition
local worker = ARGV[1]   -- str   its consumer name
local queues = 2         -- tail  the queues that it served

redis.call('ZREM', prefix .. 'workers', worker)
redis.call('UNLINK', prefix .. 'worker:' .. worker)
-- Its turns end with it: the next worker need not wait until they run out before timers are watched again.
for _, chore in ipairs({ 'timers', 'upkeep', 'retention', 'schedules', 'payloads', 'stranded', 'queues' }) do
  if redis.call('GET', prefix .. 'turn:' .. chore) == worker then redis.call('UNLINK', prefix .. 'turn:' .. chore) end
end
for place = queues, #ARGV do
  local lanes = 'w0' .. (redis.call('HGET', prefix .. 'lanes', ARGV[place]) or '')
  for lane in string.gmatch(lanes, '.') do
    local stream = prefix .. 'q:' .. ARGV[place] .. ':' .. lane
    local pending = redis.pcall('XPENDING', stream, 'workers', '-', '+', 1, worker)
    if not pending.err and #pending == 0 then redis.pcall('XGROUP', 'DELCONSUMER', stream, 'workers', worker) end
  end
end
return { 'ok' }

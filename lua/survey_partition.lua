#!lua flags=allow-oom
-- What is going on in a partition, in one look: whether it is at rest, and when it will be woken. For the clock of tests.
--
-- Replies  ok <now_ms> <due at ms | ''> <posted> <entries> <run id> ...
--          due: the first member of `delayed`; posted: what lies in the outbox; entries: runs to be claimed, and held
--          ones; then the ids of some of these

-- @include lib/clock.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local named  = ARGV[1]   -- int   ids at most, of each stream

local first = redis.call('ZRANGE', prefix .. 'delayed', 0, 0, 'WITHSCORES')
local due = first[2] and string.format('%d', math.ceil(tonumber(first[2]))) or ''
local reply = { 'ok', now_ms(), due, redis.call('XLEN', prefix .. 'outbox'), 0 }

local queues = redis.call('SMEMBERS', prefix .. 'queues')
queues[#queues + 1] = 'default'
for _, queue in ipairs(queues) do
  for lane in string.gmatch('w0123456789', '.') do
    local stream = prefix .. 'q:' .. queue .. ':' .. lane
    reply[5] = reply[5] + redis.call('XLEN', stream)
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', named)) do
      reply[#reply + 1] = entry[2][2]
    end
  end
end
return reply

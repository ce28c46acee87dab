#!lua flags=allow-oom
-- What is going on in a partition, in one look: whether it is at rest, and when it will be woken. For the clock of tests.
--
-- Replies  ok <now_ms> <due at ms | ''> <posted> <entries> <run id> ...
--          due: the first of `delayed` and `schedules`; posted: what lies in the outbox; entries: runs to be claimed,
--          and held ones; then the ids of some of these

-- @include lib/clock.lua
-- @include lib/earlier.lua
-- @include lib/set_next.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local named  = ARGV[1]   -- int   ids at most, of each stream

local function first_of(listing)
  local first = redis.call('ZRANGE', prefix .. listing, 0, 0, 'WITHSCORES')
  local at_ms = first[2] and math.ceil(tonumber(first[2]))
  return at_ms and at_ms < tonumber(never) and at_ms or nil
end

local due = earlier(first_of('delayed'), first_of('schedules'))
local reply = { 'ok', now_ms(), due and string.format('%d', due) or '', redis.call('XLEN', prefix .. 'outbox'), 0 }

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

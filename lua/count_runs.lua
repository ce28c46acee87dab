#!lua flags=allow-oom
-- How many runs there are, from the sizes of listings and streams alone: no run is looked at, however many there are.
--
-- Replies  ok <pending> <running> <workflow> <unfinished> <stuck> <succeeded> <failed> <canceled> ...

local prefix = KEYS[1]   -- str   of every key in the partition

local function size(name) return redis.call('ZCARD', prefix .. name) end

local pending, running = 0, 0
local queues = redis.call('SMEMBERS', prefix .. 'queues')
queues[#queues + 1] = 'default'
for _, queue in ipairs(queues) do
  for lane in string.gmatch('w0123456789', '.') do
    local stream = prefix .. 'q:' .. queue .. ':' .. lane
    local entries = redis.call('XLEN', stream)
    local held = entries > 0 and redis.pcall('XPENDING', stream, 'workers')
    -- Without a group nobody has read from it yet.
    local taken = held and not held.err and held[1] or 0
    pending, running = pending + entries - taken, running + taken
  end
end

local reply = { 'ok', pending, running }
for _, workflow in ipairs(redis.call('SMEMBERS', prefix .. 'workflows')) do
  local at, done = #reply, 'done:' .. workflow .. ':'
  reply[at + 1], reply[at + 2], reply[at + 3] = workflow, size('runs:' .. workflow), size('stuck:' .. workflow)
  reply[at + 4], reply[at + 5], reply[at + 6] = size(done .. 'succeeded'), size(done .. 'failed'), size(done .. 'canceled')
end
return reply

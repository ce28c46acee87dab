#!lua flags=allow-oom
-- A worker's heartbeat: its presence, and the leases of the runs that it still holds.
--
-- Replies  ok <run_id it no longer holds | run_id and the number of its last mail | drain> ...

-- @include lib/clock.lua
-- @include lib/renew_lease.lua

local prefix      = KEYS[1]   -- str   of every key in the partition
local worker      = ARGV[1]   -- str   its consumer name
local presence_ms = ARGV[2]   -- ms    how long it counts as alive without another heartbeat
local about       = ARGV[3]   -- bytes what it says of itself: host, process, queues, workflows
local serves      = ARGV[4]   -- str   what it has code for, a line each: <queue> <workflow> <version | empty: any>
local held        = 5         -- tail  run id, queue, fence and entry of each run

local function holds(run_id, fence)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'f', 'm')
  return r[1] == 'running' and r[2] == fence, r[3]
end

local until_ms = now_ms() + presence_ms
redis.call('ZADD', prefix .. 'workers', until_ms, worker)
if about ~= '' then redis.call('HSET', prefix .. 'worker:' .. worker, 'about', about) end
if serves ~= '' then
  local members, size, stamp = { 'GT' }, 1, string.format('%d', until_ms)
  for line in string.gmatch(serves, '[^\n]+') do
    members[size + 1], members[size + 2] = stamp, line
    size = size + 2
  end
  redis.call('ZADD', prefix .. 'served', unpack(members))
end

-- An earlier version takes the word for a run that it does not hold, and goes on.
local reply = { 'ok', redis.call('HGET', prefix .. 'worker:' .. worker, 'drain') and 'drain' or nil }
for place = held, #ARGV, 4 do
  local run_id, queue, fence, entry = ARGV[place], ARGV[place + 1], ARGV[place + 2], ARGV[place + 3]
  -- One broken hash must not cost the other runs their leases.
  local fine, still, mail = pcall(holds, run_id, fence)
  if fine and still then
    renew_lease(prefix, queue, entry, worker)
    if mail then reply[#reply + 1] = run_id .. ' ' .. mail end
  else
    reply[#reply + 1] = run_id
  end
end
return reply

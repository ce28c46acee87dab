#!lua
-- Claim runs for a worker: wake what is due, read new entries, and give each run a new fence and its history.
--
-- Moves    pending -> running | waiting:held | waiting:limited, waiting -> pending, a passed deadline -> failed
-- Replies  ok <now_ms> <next_due_in_ms | -1> <broken> { <run_id> <entry> <field> <value> ... } ...
--          A row without f, h and a is a first claim: its fence is 1:<operation>, its mark 0:<bytes of the input>, and
--          it starts now.
--
-- Reading the stream inside the script means that nothing is delivered without being claimed. Asked again with the
-- same operation (its reply was lost) it returns the same runs; a worker asks for one claim at a time.

-- @include lib/clock.lua
-- @include lib/ring.lua
-- @include lib/claim_entry.lua
-- @include lib/wake_due.lua
-- @include lib/claim_again.lua
-- @include lib/next_due_in.lua
-- @include lib/read_new.lua
-- @include lib/read_run.lua
-- @include lib/under_orders.lua

local prefix    = KEYS[1]   -- str   of every key in the partition
local worker    = ARGV[1]   -- str   its consumer name
local operation = ARGV[2]   -- str   unique to this claim; the nonce of the fences that it gives
local limit     = ARGV[3]   -- int   runs at most
local run_bytes = ARGV[4]   -- int   a larger history is left to be read afterwards
local all_bytes = ARGV[5]   -- int   of all histories in one reply, those of new runs that are small apart
local queues    = 6         -- tail  queues, in the order in which they are served

local now = now_ms()
local stamp = string.format('%d', now)
local room, reply, names, broken = tonumber(limit), { 'ok', now, -1, 0 }, {}, 0
local worker_key = prefix .. 'worker:' .. worker

-- Most claims are of new runs that are small, and need nothing of this.
local within
local function read_within(key)
  within = within or reader(tonumber(run_bytes), tonumber(all_bytes))
  return within(key)
end

if redis.call('HGET', worker_key, 'op') == operation then
  claim_again(prefix, redis.call('HGET', worker_key, 'runs'), operation, read_within, reply)
  reply[3] = ms_until(first_due(prefix), now)
  return reply
end

-- What fails is listed and stops nothing else: the runs that were claimed before it must reach their worker.
local function note_broken(name)
  redis.pcall('ZADD', prefix .. 'broken', stamp, name)
  broken = broken + 1
end

-- Nothing is due, as a rule: then this look says as well how long the watcher may sleep.
local first = first_due(prefix)
if first[2] and tonumber(first[2]) <= now then wake_due(prefix, now, 100) end

local claim_one, orders, controls, used = claim_entry, nil, nil, nil
if redis.call('EXISTS', prefix .. 'controls', prefix .. 'lanes') > 0 then
  orders = under_orders()
  controls = orders.read_controls(prefix)
  if controls then claim_one = orders.claim_or_hold end
  used = redis.call('HMGET', prefix .. 'lanes', unpack(ARGV, queues))
end

local claim_from
function claim_from(queue, lane)
  local stream, state = prefix .. 'q:' .. queue .. ':' .. lane, controls and controls['q:' .. queue]
  local entries
  if state then
    entries = orders.read_slowly(prefix, queue, stream, state, worker, room, now)
  else
    entries = read_new(stream, worker, room)
  end
  for _, item in ipairs(entries) do
    local entry, run_id = lane .. ':' .. item[1], item[2][2]
    local read = (lane == 'w' or item[2][3]) and read_within or read_small
    local fine, row = pcall(claim_one, prefix, queue, entry, run_id, operation, stamp, read, controls)
    if not fine then
      leave_stream(prefix, queue, entry)
      note_broken(run_id)
    elseif row then
      names[#names + 1] = run_id
      reply[#reply + 1] = row
    end
  end
  room = room - #entries
  if room == 0 then return ring(prefix, queue) end
  if outside and outside.is_refilled() then return claim_from(queue, lane) end
end

for _, lane in ipairs(used and orders.lanes_by_turn(used, now) or { 'w', '0' }) do
  for place = queues, #ARGV do
    local is_used = lane == 'w' or lane == '0' or string.find(used[place - queues + 1] or '', lane, 1, true)
    if is_used and room > 0 and not pcall(claim_from, ARGV[place], lane) then note_broken('q:' .. ARGV[place] .. ':' .. lane) end
  end
end
if #names > 0 then redis.call('HSET', worker_key, 'op', operation, 'runs', table.concat(names, ' ')) end
-- What few runs need is also all that changes due times.
reply[3], reply[4] = ms_until(outside and first_due(prefix) or first, now), broken
return reply

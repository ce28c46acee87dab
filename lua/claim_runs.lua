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
-- @include lib/lanes_by_turn.lua
-- @include lib/next_due_in.lua
-- @include lib/read_controls.lua
-- @include lib/read_new.lua
-- @include lib/read_run.lua
-- @include lib/while_controlled.lua

local prefix    = KEYS[1]   -- str   of every key in the partition
local worker    = ARGV[1]   -- str   its consumer name
local operation = ARGV[2]   -- str   unique to this claim; the nonce of the fences that it gives
local limit     = ARGV[3]   -- int   runs at most
local run_bytes = ARGV[4]   -- int   a larger history is left to be read afterwards
local all_bytes = ARGV[5]   -- int   of all histories in one reply, those of new runs that are small apart
local queues    = 6         -- tail  queues, in the order in which they are served

local now = now_ms()
local stamp = string.format('%d', now)
local room, read_within = tonumber(limit), reader(tonumber(run_bytes), tonumber(all_bytes))
local reply, names, broken = { 'ok', now, -1, 0 }, {}, 0
local worker_key = prefix .. 'worker:' .. worker

local last = redis.call('HMGET', worker_key, 'op', 'runs')
if last[1] == operation then
  for run_id in string.gmatch(last[2], '%S+') do
    local fine, row = pcall(claim_again, prefix, run_id, operation, read_within)
    if fine then reply[#reply + 1] = row end
  end
  reply[3] = next_due_in(prefix, now)
  return reply
end

-- What fails is listed and stops nothing else: the runs that were claimed before it must reach their worker.
local function note_broken(name)
  redis.pcall('ZADD', prefix .. 'broken', stamp, name)
  broken = broken + 1
end

local controls = read_controls(prefix)
local claim_one, read_slowly = claim_entry, nil
if controls then claim_one, read_slowly = while_controlled() end

local claim_from
function claim_from(queue, lane)
  local stream, state = prefix .. 'q:' .. queue .. ':' .. lane, controls and controls['q:' .. queue]
  local entries
  if state then
    entries = read_slowly(prefix, queue, stream, state, worker, room, now)
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

wake_due(prefix, now, 100)
local used = redis.call('HMGET', prefix .. 'lanes', unpack(ARGV, queues))
for _, lane in ipairs(lanes_by_turn(used, now)) do
  for place = queues, #ARGV do
    local is_used = lane == 'w' or lane == '0' or string.find(used[place - queues + 1] or '', lane, 1, true)
    if is_used and room > 0 and not pcall(claim_from, ARGV[place], lane) then note_broken('q:' .. ARGV[place] .. ':' .. lane) end
  end
end
if #names > 0 then redis.call('HSET', worker_key, 'op', operation, 'runs', table.concat(names, ' ')) end
reply[3], reply[4] = next_due_in(prefix, now), broken
return reply

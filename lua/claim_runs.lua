#!lua
-- Claim runs for a worker: wake what is due, read new entries, and give each run a new fence and its history.
--
-- Moves    pending -> running, waiting -> pending, a passed deadline -> failed
-- Replies  ok <now_ms> <next_due_in_ms | -1> <broken> { <run_id> <fields> } ...
--
-- Reading the stream inside the script means that nothing is delivered without being claimed. Asked again with the
-- same operation (its reply was lost) it returns the same runs; a worker asks for one claim at a time.

-- @include lib/clock.lua
-- @include lib/claim_entry.lua
-- @include lib/next_due_in.lua
-- @include lib/read_new.lua
-- @include lib/read_run.lua
-- @include lib/wake_due.lua

local prefix    = KEYS[1]   -- str   of every key in the partition
local worker    = ARGV[1]   -- str   its consumer name
local operation = ARGV[2]   -- str   unique to this claim; the nonce of the fences that it gives
local limit     = ARGV[3]   -- int   runs at most
local run_bytes = ARGV[4]   -- int   a larger history is left to be read afterwards
local all_bytes = ARGV[5]   -- int   of all histories in one reply
local queues    = 6         -- tail  queues, in the order in which they are served

local now = now_ms()
local stamp = string.format('%d', now)
local room, budget = tonumber(limit), tonumber(all_bytes)
local reply, names, broken = { 'ok', now, -1, 0 }, {}, 0
local worker_key = prefix .. 'worker:' .. worker

local function read_all(key) return redis.call('HGETALL', key) end

local function read_within_budget(key)
  local bytes = tonumber(string.match(redis.call('HGET', key, 'h') or '0:0', ':(%d+)$'))
  local whole = bytes <= tonumber(run_bytes) and bytes <= budget
  if whole then budget = budget - bytes end
  return read_run(key, whole)
end

local function give_again(run_id)
  local key = prefix .. 'run:' .. run_id
  local r = redis.call('HMGET', key, 's', 'f')
  if r[1] == 'running' and string.match(r[2], ':(.*)$') == operation then
    reply[#reply + 1] = { run_id, read_within_budget(key) }
  end
end

local last = redis.call('HMGET', worker_key, 'op', 'runs')
if last[1] == operation then
  for run_id in string.gmatch(last[2], '%S+') do pcall(give_again, run_id) end
  reply[3] = next_due_in(prefix, now)
  return reply
end

-- What fails is listed and stops nothing else: the runs that were claimed before it must reach their worker.
local function note_broken(name)
  redis.pcall('ZADD', prefix .. 'broken', stamp, name)
  broken = broken + 1
end

local function read(queue, lane)
  local entries = read_new(prefix .. 'q:' .. queue .. ':' .. lane, worker, room)
  for _, item in ipairs(entries) do
    local entry, run_id = lane .. ':' .. item[1], item[2][2]
    -- A new run that is not marked as large is small: that spares the look at its size.
    local read_fields = (lane == 'w' or item[2][3]) and read_within_budget or read_all
    local fine, fields = pcall(claim_entry, prefix, queue, entry, run_id, operation, stamp, read_fields)
    if not fine then
      leave_stream(prefix, queue, entry)
      note_broken(run_id)
    elseif fields then
      names[#names + 1] = run_id
      reply[#reply + 1] = { run_id, fields }
    end
  end
  room = room - #entries
  if room == 0 then ring(prefix, queue) end
end

wake_due(prefix, now, 100)
for _, lane in ipairs({ 'w', '0' }) do
  for place = queues, #ARGV do
    if room > 0 and not pcall(read, ARGV[place], lane) then note_broken('q:' .. ARGV[place] .. ':' .. lane) end
  end
end
if #names > 0 then redis.call('HSET', worker_key, 'op', operation, 'runs', table.concat(names, ' ')) end
reply[3], reply[4] = next_due_in(prefix, now), broken
return reply

#!lua flags=allow-oom
-- Let a run wait for code: no worker here has its workflow (stranded), or the code does not match its record
-- (suspended). No attempt and no crash is counted. It is offered again by itself, if it is to be, ever more seldom; soon
-- where another worker has its code, which this one took it from.
--
-- Moves    running -> waiting:stranded | waiting:suspended
-- Replies  ok | fenced | ended | missing

-- @include lib/clock.lua
-- @include lib/earlier.lua
-- @include lib/is_served.lua
-- @include lib/is_terminal.lua
-- @include lib/leave_stream.lua
-- @include lib/set_due.lua
-- @include lib/lines.lua
-- @include lib/returned_fence.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local run_id   = ARGV[1]   -- str
local fence    = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local entry    = ARGV[3]   -- str   the run's current entry
local reason   = ARGV[4]   -- word  stranded | suspended
local problem  = ARGV[5]   -- bytes the error that a suspended run shows; else empty
local first_ms = ARGV[6]   -- ms    how long it waits the first time; doubled each time; 0: until a worker starts
local last_ms  = ARGV[7]   -- ms    at most
local again_ms = ARGV[8]   -- ms    how long where another worker has its code; empty: as above

local run_key = prefix .. 'run:' .. run_id
local r = redis.call('HMGET', run_key, 's', 'f', 'e', 'q', 'w', 'z', 'dl', 'lk', 'v')
if not r[1] then return { 'missing' } end
if r[2] == returned_fence(fence) then return { 'ok' } end
if r[2] ~= fence then return { is_terminal(r[1]) and 'ended' or 'fenced' } end
if r[1] ~= 'running' or r[3] ~= entry then return { 'fenced' } end

local now = now_ms()
local due_ms = r[7] and tonumber(r[7]) or nil
local fields = { 's', 'waiting:' .. reason, 'f', returned_fence(fence) }
local function field(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if tonumber(first_ms) > 0 then
  local times = tonumber(r[6] or '0')
  local wait_ms
  if again_ms ~= '' and is_served(prefix, r[4] or nil, r[5], r[9] or nil, now) then
    -- Who has its code may be full for hours: a millisecond for each that waits, and 1,000 a second are offered again.
    wait_ms = math.max(tonumber(again_ms), redis.call('ZCARD', prefix .. 'stuck:' .. r[5]))
  else
    wait_ms = first_ms * 2 ^ math.min(times, 30)
    field('z', times + 1)
  end
  due_ms = earlier(now + math.min(tonumber(last_ms), wait_ms), due_ms)
end
if due_ms then field('d', due_ms) end
if problem ~= '' then field('er', problem) end

redis.call('HDEL', run_key, 'e', 'd', 'p')
redis.call('HSET', run_key, unpack(fields))
leave_stream(prefix, r[4] or nil, entry)
redis.call('ZADD', prefix .. 'stuck:' .. r[5], now, run_id)
if due_ms then set_due(prefix, run_id, due_ms) end
if r[8] then lines().free_slots(prefix, run_id, r[8], now) end
return { 'ok' }

#!lua flags=allow-oom
-- Begin a run anew, with another input and an empty record: its code has said so. It stays the run that it is: its id,
-- its mail, its unique key, its limits, its deadline, whoever waits for it.
--
-- Moves    running -> pending, a passed deadline -> failed
-- Replies  ok | fenced | ended | behind | missing

-- @include lib/clock.lua
-- @include lib/is_terminal.lua
-- @include lib/keep_uses.lua
-- @include lib/requeue.lua
-- @include lib/returned_fence.lua
-- @include lib/end_if_late.lua
-- @include lib/apply_effects.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local run_id  = ARGV[1]   -- str
local fence   = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local entry   = ARGV[3]   -- str   the run's current entry
local before  = ARGV[4]   -- str   the mark of the record that goes
local input   = ARGV[5]   -- bytes
local effects_at = 6      -- tail  effects

local run_key = prefix .. 'run:' .. run_id
local r = redis.call('HMGET', run_key, 's', 'f', 'e', 'h', 'dl', 'q', 'lk', 'ct')
if not r[1] then return { 'missing' } end
if r[2] == returned_fence(fence) then return { 'ok' } end
if r[2] ~= fence then return { is_terminal(r[1]) and 'ended' or 'fenced' } end
if r[1] ~= 'running' or r[3] ~= entry then return { 'fenced' } end
if r[4] ~= before then return { 'behind' } end
local now = now_ms()
local late = end_if_late(prefix, run_id, r[5], now)
if late then return { late } end

local remove = when_needed().apply_effects(prefix, run_id, effects_at, #ARGV, now)
-- It begins anew, so a rate counts it anew: here in its claim, elsewhere where it asks for another permit.
if r[7] and string.find(r[7], ':[1-9]%d*@') then
  lines().free_slots(prefix, run_id, r[7], now)
elseif r[7] then
  keep_uses(prefix, run_id, r[7], r[8] or '0')
end
-- Its entry before anything is taken from it: what follows is in the run's own key, and cannot fail.
requeue(prefix, run_id, r[6] or nil, entry, returned_fence(fence))
remove()
-- The mark goes with the records: 10,000 of them take about 3 ms, as many as a history has unless it is allowed more.
local last = tonumber(string.match(before, '^%d+')) - 1
for first = 0, last, 1000 do
  local numbers = {}
  for number = first, math.min(last, first + 999) do numbers[#numbers + 1] = number end
  redis.call('HDEL', run_key, unpack(numbers))
end
redis.call('HDEL', run_key, 'a', 'x', 'z', 'xp', 'cp', 'wn', 'ev')
redis.call('HSET', run_key, 'i', input, 'h', '0:' .. #input)
redis.call('HINCRBY', run_key, 'ct', 1)
redis.call('UNLINK', prefix .. 'fx:' .. run_id)
return { 'ok' }

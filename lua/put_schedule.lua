#!lua
-- Create a schedule, or give it another definition. What it has done so far stays, and one that is paused stays paused.
-- The same definition under another fingerprint (its input was sealed with another key) is only stored anew.
--
-- Replies  ok | tell <after_ms>: the definition is new, and its first tick after this instant is to be told

-- @include lib/clock.lua
-- @include lib/set_next.lua

local prefix      = KEYS[1]   -- str   of every key in the partition
local schedule    = ARGV[1]   -- str
local fingerprint = ARGV[2]   -- str   tells one definition from another
local earlier     = ARGV[3]   -- str   fingerprints that this definition had, or would have, under other keys
local next_ms     = ARGV[4]   -- ms    its first tick; never: it has none; empty: not told yet
local definition  = 5         -- tail  fields of the hash, each with its value

local key = prefix .. 'schedule:' .. schedule
local known = redis.call('HMGET', key, 'fp', 'lt', 'pz')
if known[1] == fingerprint then return { 'ok' } end
if known[1] and string.find(' ' .. earlier .. ' ', ' ' .. known[1] .. ' ', 1, true) then
  redis.call('HSET', key, 'fp', fingerprint, unpack(ARGV, definition))
  return { 'ok' }
end
-- Also where a tick came between the question and the answer: it is not to come again.
local now, last_ms = now_ms(), tonumber(known[2] or '0')
if next_ms == '' or next_ms ~= 'never' and tonumber(next_ms) <= last_ms then
  return { 'tell', math.max(now, last_ms) }
end
if next_ms == 'never' then next_ms = '' end

set_next(prefix, schedule, known[3] and '' or next_ms)
redis.call('HSET', key, 'fp', fingerprint, 'n', next_ms, unpack(ARGV, definition))
redis.call('HINCRBY', key, 'rv', 1)
if not known[1] then redis.call('HSET', key, 'c', now) end
return { 'ok' }

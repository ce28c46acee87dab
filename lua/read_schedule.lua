#!lua flags=allow-oom
-- A schedule as it is stored, and the time.
--
-- Replies  ok <now_ms> <fields> | missing

-- @include lib/clock.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local schedule = ARGV[1]   -- str

local fields = redis.call('HGETALL', prefix .. 'schedule:' .. schedule)
if not fields[1] then return { 'missing' } end
return { 'ok', now_ms(), fields }

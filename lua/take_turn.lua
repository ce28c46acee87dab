#!lua flags=allow-oom
-- One worker at a time does a chore of the partition; whoever has the turn keeps it by asking again. Nothing rests
-- on it: two workers with the same turn do double work, never wrong work.
--
-- Replies  yes | no

local prefix = KEYS[1]   -- str   of every key in the partition
local chore  = ARGV[1]   -- str   timers | upkeep | ...
local worker = ARGV[2]   -- str
local ms     = ARGV[3]   -- ms    how long the turn lasts

local turn = prefix .. 'turn:' .. chore
local owner = redis.call('GET', turn)
if owner and owner ~= worker then return { 'no' } end
redis.call('SET', turn, worker, 'PX', ms)
return { 'yes' }

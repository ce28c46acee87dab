#!lua
-- Put a piece of the record of a run that is to be created aside: a long record does not travel in one call. What is
-- not made a run within its time goes by itself.
--
-- Replies  ok

local prefix  = KEYS[1]   -- str   of every key in the partition
local run_id  = ARGV[1]   -- str   of the run to be
local keep_ms = ARGV[2]   -- ms
local records = 3         -- tail  number and record, in turn

local staged = prefix .. 'fork:' .. run_id
local fields = {}
for place = records, #ARGV do fields[#fields + 1] = ARGV[place] end
redis.call('HSET', staged, unpack(fields))
redis.call('PEXPIRE', staged, keep_ms)
return { 'ok' }

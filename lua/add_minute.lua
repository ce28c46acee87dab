#!lua
-- Add what a worker has counted to a minute. A worker's calls are numbered upwards, so one that is sent twice is counted
-- once. Refused where the server is out of memory: charts are not what it needs its last room for.
--
-- Replies  ok

local prefix  = KEYS[1]   -- str   of every key in the partition
local minute  = ARGV[1]   -- int   since 1970
local worker  = ARGV[2]   -- str
local number  = ARGV[3]   -- int   of this call, among the worker's
local keep_ms = ARGV[4]   -- ms    from now on the minute is kept for so long
local counts  = 5         -- tail  field, how many more

local key, mark = prefix .. 'minute:' .. minute, 'w ' .. worker
local last = redis.call('HGET', key, mark)
if last and tonumber(last) >= tonumber(number) then return { 'ok' } end
redis.call('HSET', key, mark, number)
-- A damaged field loses what is its own, and nothing else.
for place = counts, #ARGV, 2 do redis.pcall('HINCRBY', key, ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIRE', key, keep_ms)
return { 'ok' }

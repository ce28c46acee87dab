#!lua flags=allow-oom
-- Open a namespace: the number of its partitions is fixed by whoever opens it first.
--
-- Replies  ok <partitions> <layout> | missing

local prefix     = KEYS[1]   -- str   of every key in the partition (number 0)
local partitions = ARGV[1]   -- int   0: as many as it has, if it is there
local layout     = ARGV[2]   -- int   version of the key layout

local meta = prefix .. 'meta'
local r = redis.call('HMGET', meta, 'partitions', 'layout')
if not (r[1] and r[2]) then -- whoever may only read can open what is there
  if partitions == '0' then return { 'missing' } end
  redis.call('HSETNX', meta, 'partitions', partitions)
  redis.call('HSETNX', meta, 'layout', layout)
  r = redis.call('HMGET', meta, 'partitions', 'layout')
end
return { 'ok', r[1], r[2] }

#!lua flags=allow-oom
-- Whether a run is stored. What makes it worth asking comes with it: a write and a wait for replicas, after which they
-- have the run, too.
--
-- Replies  ok | missing

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

return { redis.call('EXISTS', prefix .. 'run:' .. run_id) == 1 and 'ok' or 'missing' }

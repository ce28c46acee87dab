#!lua flags=allow-oom
-- Show what a run's holder is doing right now: steps that run for longer than a second, and what they say.
--
-- Replies  ok | fenced

local prefix   = KEYS[1]   -- str   of every key in the partition
local run_id   = ARGV[1]   -- str
local fence    = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local progress = ARGV[3]   -- bytes

local run_key = prefix .. 'run:' .. run_id
local r = redis.call('HMGET', run_key, 's', 'f')
if r[1] ~= 'running' or r[2] ~= fence then return { 'fenced' } end
redis.call('HSET', run_key, 'p', progress)
return { 'ok' }

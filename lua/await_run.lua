#!lua flags=allow-oom
-- Look how a run ended; while it has not, note that somebody awaits it, so that its end is published.
--
-- Replies  ended <workflow> <status> <output> <error> <cause> | not yet <workflow> <status> | missing

-- @include lib/is_terminal.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local run_key = prefix .. 'run:' .. run_id
local r = redis.call('HMGET', run_key, 'w', 's', 'o', 'er', 'ca', 'aw')
if not r[2] then return { 'missing' } end
if is_terminal(r[2]) then return { 'ended', r[1], r[2], r[3], r[4], r[5] } end

if not r[6] then redis.call('HSET', run_key, 'aw', '1') end
return { 'not yet', r[1], r[2] }

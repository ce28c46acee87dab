#!lua flags=no-writes
-- The worker that holds a run now, and for how long it has not renewed the run's lease.
--
-- Replies  ok <worker> <ms> | none

-- @include lib/stream_of.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'q', 'e')
if r[1] ~= 'running' or not r[3] then return { 'none' } end
local id = string.sub(r[3], 3)
local pending = redis.pcall('XPENDING', stream_of(prefix, r[2], r[3]), 'workers', id, id, 1)
if pending.err or not pending[1] then return { 'none' } end
return { 'ok', pending[1][2], pending[1][3] }

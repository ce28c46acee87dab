#!lua
-- Start a run of a schedule now, besides its ticks; its overlap policy holds.
--
-- Moves    (nothing) -> pending | waiting:overlap, with cancel_running: the run before -> canceled
-- Replies  created | skipped | stale | missing

-- @include lib/clock.lua
-- @include lib/start_scheduled.lua
-- @include lib/was_started.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local schedule = ARGV[1]   -- str
local revision = ARGV[2]   -- int   of the definition that the caller has read
local run      = 3         -- tail  the row of the run, as in create_run

local r = redis.call('HMGET', prefix .. 'schedule:' .. schedule, 'rv', 'on', 'ov')
if not r[1] then return { 'missing' } end
if was_started(prefix, ARGV[run]) then return { 'created' } end
if r[1] ~= revision then return { 'stale' } end

return { start_scheduled(prefix, schedule, r[2], r[3], run, now_ms()) }

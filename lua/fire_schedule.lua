#!lua
-- Fire one tick of a schedule: its run is created and the schedule goes on to its next tick, in one step, once.
--
-- Moves    (nothing) -> pending | waiting:overlap, with cancel_running: the run before -> canceled
-- Replies  created | skipped | missed | early <ms> | stale | missing

-- @include lib/clock.lua
-- @include lib/set_next.lua
-- @include lib/start_scheduled.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local schedule = ARGV[1]   -- str
local revision = ARGV[2]   -- int   of the definition that the caller has read
local meant    = ARGV[3]   -- ms    the next tick as the caller has read it
local tick     = ARGV[4]   -- ms    what is fired: the same, or a later one that stands for those before it
local next_ms  = ARGV[5]   -- ms    the tick after it; empty: there is none
local run      = 6         -- tail  the row of its run, as in create_run; empty: the tick is missed

local key = prefix .. 'schedule:' .. schedule
local r = redis.call('HMGET', key, 'rv', 'n', 'pz', 'lt', 'lw', 'on', 'ov')
if not r[1] then return { 'missing' } end
if r[4] == tick then return { r[5] } end -- sent again, or by another worker
if r[1] ~= revision or r[2] ~= meant or r[3] then return { 'stale' } end
local now = now_ms()
if tonumber(tick) > now then return { 'early', tick - now } end

local outcome = 'missed'
if ARGV[run] then outcome = start_scheduled(prefix, schedule, r[6], r[7], run, now) end
redis.call('HSET', key, 'lt', tick, 'lw', outcome, 'n', next_ms)
set_next(prefix, schedule, next_ms)
return { outcome }

#!lua flags=allow-oom
-- Let a paused schedule go on, with its first tick after now: those that came while it was paused are gone.
--
-- Replies  ok | stale | missing

-- @include lib/set_next.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local schedule = ARGV[1]   -- str
local revision = ARGV[2]   -- int   of the definition that the caller has read
local next_ms  = ARGV[3]   -- ms    its next tick; empty: there is none

local key = prefix .. 'schedule:' .. schedule
local r = redis.call('HMGET', key, 'rv', 'pz')
if not r[1] then return { 'missing' } end
if not r[2] then return { 'ok' } end
if r[1] ~= revision then return { 'stale' } end

-- Its place first: who finds it there too early looks at it, and who never finds it there never does.
set_next(prefix, schedule, next_ms)
redis.call('HDEL', key, 'pz')
redis.call('HSET', key, 'n', next_ms)
return { 'ok' }

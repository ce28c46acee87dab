#!lua flags=allow-oom
-- Keep what a process found out: this server does not have some of the writes that it had acknowledged. Sent twice, it
-- says so twice.
--
-- Replies  ok

-- @include lib/clock.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local seen_by  = ARGV[1]   -- str   the process
local batches  = ARGV[2]   -- int   how many of its batches are gone
local after_ms = ARGV[3]   -- ms    so long ago the last one before them was acknowledged; -1 where that is not known
local until_ms = ARGV[4]   -- ms    so long ago the last of them was acknowledged
local most     = ARGV[5]   -- int   how many losses are kept

local now = now_ms()
local after = tonumber(after_ms) < 0 and -1 or now - after_ms
local losses = prefix .. 'losses'
redis.call('LPUSH', losses, string.format('%d %d %d %s %s', now, after, now - until_ms, batches, seen_by))
redis.call('LTRIM', losses, 0, most - 1)
return { 'ok' }

#!lua flags=allow-oom
-- Carry a broadcast, which was accepted in the home partition of its name, on to those who wait in this partition: a
-- piece at a time. Sent again, a piece is answered as before.
--
-- Moves    waiting -> pending, where the run waits for this signal
-- Replies  ok <number to go on after | empty, runs reached>

-- @include lib/clock.lua
-- @include lib/open_cast.lua
-- @include lib/reach_waiters.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local name     = ARGV[1]   -- str   of the mail, as a run that wants it says it
local hash     = ARGV[2]   -- str   of the name
local item     = ARGV[3]   -- bytes
local once     = ARGV[4]   -- str   the hash of its idempotency key
local ms       = ARGV[5]   -- ms    for how long its key is kept
local until_ms = ARGV[6]   -- ms    when it is kept no longer, empty where it is not kept
local after    = ARGV[7]   -- int   number of the waiter after whom to go on, 0 first
local most     = ARGV[8]   -- int   items that a mailbox holds
local week_ms  = 604800000 -- what is in the outbox is known for as long as it may take until a worker comes

local now = now_ms()
local cast = { once = once, hash = hash, name = name, item = item, until_ms = tonumber(until_ms) }
open_cast(prefix, cast, now, math.max(week_ms, tonumber(ms)))
return { 'ok', reach_waiters(prefix, cast, after, now, tonumber(most)) }

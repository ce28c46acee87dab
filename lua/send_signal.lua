#!lua
-- Broadcast a signal to every run that waits for its name, and for a while to those who start to. This is the home
-- partition of the name: here it is accepted, and known by its key. What is left to be done (by whoever sent it, or by
-- a worker if that dies) is in the outbox.
--
-- Moves    waiting -> pending, where the run waits for this signal
-- Replies  ok <entry of the outbox | empty> <kept until, in ms | empty> <number to go on after | empty, runs reached>
--          | full

-- @include lib/clock.lua
-- @include lib/open_cast.lua
-- @include lib/reach_waiters.lua
-- @include lib/read_kept.lua

local prefix    = KEYS[1]   -- str   of every key in the partition
local name      = ARGV[1]   -- str   of the mail, as a run that wants it says it
local hash      = ARGV[2]   -- str   of the name
local item      = ARGV[3]   -- bytes
local once      = ARGV[4]   -- str   the hash of its idempotency key
local ms        = ARGV[5]   -- ms    for how long the key is kept
local retain    = ARGV[6]   -- ms    for how long it is given to those who start to wait, empty for not at all
local elsewhere = ARGV[7]   -- word  yes | no: whether there are other partitions
local most      = ARGV[8]   -- int   items that a mailbox holds
local kept_most = 100       -- broadcasts of one name that are kept, and their bytes
local kept_size = 2097152
local week_ms   = 604800000 -- what is in the outbox is known for as long as it may take until a worker comes

local now, cast_key = now_ms(), prefix .. 'cast:' .. once
local cast = { once = once, hash = hash, name = name, item = item }
local known = redis.call('HMGET', cast_key, 'n', 'o', 'u')
if not known[1] and retain ~= '' then
  local numbers, _, bytes = read_kept(prefix, hash, now)
  if #numbers >= kept_most or bytes + #item > kept_size then return { 'full' } end
end

local until_ms = known[1] and (known[3] or '') or retain ~= '' and string.format('%d', now + retain) or ''
local entry = known[2] or ''
cast.until_ms = tonumber(until_ms)
open_cast(prefix, cast, now, ms)
local answer = reach_waiters(prefix, cast, '0', now, tonumber(most))
if known[1] then return { 'ok', entry, until_ms, answer } end

if until_ms ~= '' then redis.call('HSET', cast_key, 'u', until_ms) end
if elsewhere == 'yes' or string.find(answer, '^%d') then
  -- No alarm: the sender goes on itself. Should it die, the watcher of the partition looks every second.
  entry = redis.call('XADD', prefix .. 'outbox', '*', 'do', 'broadcast', 'name', name, 'hash', hash, 'item', item,
    'once', once, 'ms', ms, 'until', until_ms)
  redis.call('HSET', cast_key, 'o', entry)
  redis.call('PEXPIRE', cast_key, math.max(week_ms, tonumber(ms)))
end
return { 'ok', entry, until_ms, answer }

#!lua
-- Put a signal into a run's mailbox, where it waits until the run takes it. Sent again with the same key it is there
-- once.
--
-- Moves    waiting -> pending, where the run waits for this signal
-- Replies  ok | full | missing | ended

-- @include lib/put_mail.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local name   = ARGV[2]   -- str   of the mail, as a run that wants it says it
local item   = ARGV[3]   -- bytes
local once   = ARGV[4]   -- str   the hash of its idempotency key
local ms     = ARGV[5]   -- ms    for how long the key is kept
local most   = ARGV[6]   -- int   items that a mailbox holds

local sent = prefix .. 'idem:' .. once
if redis.call('EXISTS', sent) == 1 then return { 'ok' } end

local word = put_mail(prefix, run_id, name, item, nil, tonumber(most))
if word == 'ok' then redis.call('SET', sent, run_id, 'PX', ms) end
return { word }

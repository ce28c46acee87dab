#!lua flags=allow-oom
-- Take what was carried out from the outbox of this partition. A stream without entries does not stay behind.
--
-- Replies  ok

local prefix  = KEYS[1]   -- str   of every key in the partition
local entries = 1         -- tail  ids of its entries

local outbox = prefix .. 'outbox'
for at = entries, #ARGV do redis.call('XDEL', outbox, ARGV[at]) end
if redis.call('XLEN', outbox) == 0 then redis.call('DEL', outbox) end
return { 'ok' }

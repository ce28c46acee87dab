#!lua flags=allow-oom
-- From the outbox of another partition: the end of a child, for its parent. Sent again it is given once.
--
-- Moves    waiting -> pending, where the parent waits for children
-- Replies  ok | known

-- @include lib/clock.lua
-- @include lib/give_end.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str   the parent
local child  = ARGV[2]   -- str
local item   = ARGV[3]   -- bytes what becomes mail

return { give_end(prefix, run_id, child, item, now_ms()) and 'ok' or 'known' }

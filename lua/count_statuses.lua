#!lua flags=no-writes
-- What the unfinished runs of a workflow are doing, a bounded step at a time: this cannot be told from sizes, because
-- streams are those of queues.
--
-- Replies  ok <id of the last one looked at> <its ms> <status> <count> ...

-- @include lib/count_by.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local at_ms    = ARGV[2]   -- ms    the place after which it begins
local at_id    = ARGV[3]   -- str   the same
local limit    = ARGV[4]   -- int   runs at most

return count_by(prefix, workflow, at_ms, at_id, tonumber(limit), 's')

#!lua flags=no-writes
-- What the unfinished runs of a workflow are doing, a bounded step at a time: this cannot be told from sizes, because
-- streams are those of queues.
--
-- Replies  ok <id of the last one looked at> <its ms> <status> <count> ...

-- @include lib/collect.lua
-- @include lib/slice.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local at_ms    = ARGV[2]   -- ms    the place after which it begins
local at_id    = ARGV[3]   -- str   the same
local limit    = ARGV[4]   -- int   runs at most

local members = slice(prefix .. 'runs:' .. workflow, false, at_ms, at_id, tonumber(limit))
local found = {}
for at = 1, #members, 2 do
  local status = redis.pcall('HGET', prefix .. 'run:' .. members[at], 's')
  if type(status) == 'string' then collect(found, status, members[at]) end
end
local reply = { 'ok', members[#members - 1] or '', members[#members] or '' }
for status, runs in pairs(found) do
  reply[#reply + 1], reply[#reply + 2] = status, #runs
end
return reply

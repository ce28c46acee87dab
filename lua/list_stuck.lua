#!lua flags=no-writes
-- A piece of the runs of a workflow that wait for code, those first that have waited longest.
--
-- Replies  ok <id of the last one looked at> <its ms> { <run_id> <since ms> <status> <queue | ''> <version | ''> <next look ms | ''> } ...

-- @include lib/is_stuck.lua
-- @include lib/slice.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local at_ms    = ARGV[2]   -- ms    the place after which it begins
local at_id    = ARGV[3]   -- str   the same
local limit    = ARGV[4]   -- int   runs at most

local members = slice(prefix .. 'stuck:' .. workflow, false, at_ms, at_id, tonumber(limit))
local reply = { 'ok', members[#members - 1] or '', members[#members] or '' }
for at = 1, #members, 2 do
  local r = redis.pcall('HMGET', prefix .. 'run:' .. members[at], 's', 'q', 'v', 'd')
  if r[1] and is_stuck(r[1]) then
    reply[#reply + 1] = { members[at], members[at + 1], r[1], r[2] or '', r[3] or '', r[4] or '' }
  end
end
return reply

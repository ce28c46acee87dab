#!lua flags=allow-oom
-- Upkeep of one workflow's unfinished runs: what was lost of what points to them is rebuilt from their hashes, and the
-- ends of children that they may have missed are looked for. A bounded step at a time, from the newest run to the
-- oldest: where runs end meanwhile, others move down to where the next step looks, and none is passed over.
--
-- Moves    running -> pending, where nothing holds the run any more
-- Replies  ok <rank of the first that was looked at: 0 was the last step> <looked at> <repaired>

-- @include lib/clock.lua
-- @include lib/load_run.lua
-- @include lib/mend_run.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local before   = ARGV[2]   -- int   rank below which the runs are, or -1: all
local step     = ARGV[3]   -- int   runs at most

local listing = prefix .. 'runs:' .. workflow
local now = now_ms()
local repaired, waiting = 0, {}

local function reconcile(run_id)
  local run = load_run(prefix, run_id)
  if run then return mend_run(prefix, run_id, run, now, waiting)[1] end
  redis.call('ZREM', listing, run_id)
  return true
end

local upto = tonumber(before) < 0 and redis.call('ZCARD', listing) or tonumber(before)
local first = math.max(0, upto - tonumber(step))
local runs = upto > 0 and redis.call('ZRANGE', listing, first, upto - 1) or {}
for _, run_id in ipairs(runs) do
  local fine, changed = pcall(reconcile, run_id)
  if fine and changed then repaired = repaired + 1 end
end
for hash, kind in pairs(waiting) do repaired = repaired + lines().tidy_line(prefix, hash, kind, now) end
return { 'ok', first, #runs, repaired }

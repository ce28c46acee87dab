#!lua flags=allow-oom
-- Upkeep of one workflow's unfinished runs: what was lost of what points to them is rebuilt from their hashes, and the
-- ends of children that they may have missed are looked for. A bounded step at a time.
--
-- Moves    running -> pending, where nothing holds the run any more
-- Replies  ok <looked at> <repaired>

-- @include lib/clock.lua
-- @include lib/load_run.lua
-- @include lib/mend_run.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local first    = ARGV[2]   -- int   rank of the first run
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

local runs = redis.call('ZRANGE', listing, first, first + step - 1)
for _, run_id in ipairs(runs) do
  local fine, changed = pcall(reconcile, run_id)
  if fine and changed then repaired = repaired + 1 end
end
for hash, kind in pairs(waiting) do repaired = repaired + lines().tidy_line(prefix, hash, kind, now) end
return { 'ok', #runs, repaired }

#!lua flags=allow-oom
-- A worker with new code has started: offer it the runs of its workflow that waited for code, a bounded step at a
-- time, and only those that were put there before it started (what it cannot serve comes back later).
--
-- Moves    waiting:stranded | waiting:suspended -> pending
-- Replies  ok <woken> <until_ms>

-- @include lib/clock.lua
-- @include lib/load_run.lua
-- @include lib/wake_run.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local limit    = ARGV[2]   -- int   runs at most
local until_ms = ARGV[3]   -- ms    as the first step replied; empty: now

local last = until_ms ~= '' and until_ms or now_ms()
local stuck = prefix .. 'stuck:' .. workflow

local function wake(run_id)
  local run = load_run(prefix, run_id)
  if run and is_stuck(run.status) then wake_run(prefix, run_id, run) end
end

local woken = redis.call('ZRANGEBYSCORE', stuck, '-inf', last, 'LIMIT', 0, limit)
for _, run_id in ipairs(woken) do
  redis.call('ZREM', stuck, run_id)
  pcall(wake, run_id) -- one broken hash must not stop the others
end
return { 'ok', #woken, last }

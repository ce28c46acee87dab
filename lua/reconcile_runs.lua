#!lua flags=allow-oom
-- Upkeep of one workflow's unfinished runs: the run hash is the truth; its entry, its timer, its unique key, its slots,
-- and its places in listings and lines are hints that are rebuilt from it where they are lost; the ends of children that
-- it may have missed are looked for. A bounded step at a time.
--
-- Moves    running -> pending, where nothing holds the run any more
-- Replies  ok <looked at> <repaired>

-- @include lib/clock.lua
-- @include lib/requeue.lua
-- @include lib/set_due.lua
-- @include lib/end_run.lua
-- @include lib/has_entry.lua
-- @include lib/holds_unique.lua
-- @include lib/is_terminal.lua
-- @include lib/use_lane.lua
-- @include lib/look_for_kids.lua
-- @include lib/lines.lua
-- @include lib/load_run.lua
-- @include lib/queue_up.lua
-- @include lib/taken_fence.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local workflow = ARGV[1]   -- str
local first    = ARGV[2]   -- int   rank of the first run
local step     = ARGV[3]   -- int   runs at most

local listing = prefix .. 'runs:' .. workflow
local now = now_ms()
local repaired, waiting = 0, {}

local function has_timer(run, run_id)
  local due = redis.call('ZSCORE', prefix .. 'delayed', run_id)
  return due and tonumber(due) == run.due
end

-- Of a run that waits for a limit, or holds slots or a place in a window: whether that was lost.
local function restore_place(run, run_id)
  if run.status == 'pending' and run.fair and not run.fence and string.sub(run.entry or 'w', 1, 1) ~= 'w' then
    return redis.call('ZADD', prefix .. 'fair:' .. run.fair, 'NX', run.created, run_id) == 1
  end
  local is_spread = run.limits and lines().is_spread(run.limits)
  if is_spread and not run.blocked_on and (run.status == 'running' or run.status == 'waiting:limited') then
    local is_lost = lines().say_again(prefix, run_id, run)
    if is_lost then requeue(prefix, run_id, run.queue, nil, taken_fence(run.fence)) end
    return is_lost
  end
  if run.status == 'running' and run.limits then return lines().hold_slots(prefix, run_id, run.limits, now) end
  if run.status ~= 'waiting:limited' then return false end
  local hash = run.blocked_on
  local is_rate = run.limits and string.find(run.limits, hash .. ':%d+:[1-9]')
  waiting[hash] = hash == run.fair and 'fair' or is_rate and 'rate' or 'concurrency'
  if redis.call('ZSCORE', prefix .. 'blocked:' .. hash, run_id) then return false end
  lines().line_up(prefix, hash, run_id, run.priority, run.created)
  return true
end

-- Whether somebody will let a held run go.
local function is_held(run_id)
  return redis.call('ZSCORE', prefix .. 'held:' .. workflow, run_id)
    and redis.call('HEXISTS', prefix .. 'controls', 'w:' .. workflow) == 1
end

-- Of a run whose entry is in a lane: whether claims would not read it.
local function restore_lane(run)
  local lane = (run.status == 'pending' or run.status == 'running') and string.match(run.entry or '', '^%d')
  if not lane or not use_lane(prefix, run.queue, lane) then return false end
  ring(prefix, run.queue)
  return true
end

-- Of a run that waits for its turn behind others of its schedule: whether it would never have come.
local function restore_turn(run, run_id)
  if run.status ~= 'waiting:overlap' then return false end
  if redis.call('EXISTS', prefix .. 'schedule:' .. run.schedule) == 1 then
    local is_lost = queue_up(prefix, run.schedule, run_id)
    if is_lost then redis.call('ZADD', prefix .. 'schedules', 'XX', 0, run.schedule) end
    return is_lost
  end
  redis.call('HSET', prefix .. 'run:' .. run_id, 's', 'waiting:start', 'd', now)
  set_due(prefix, run_id, now)
  return true
end

local function reconcile(run_id)
  local run = load_run(prefix, run_id)
  if not run then
    redis.call('ZREM', listing, run_id)
    return true
  end
  if is_terminal(run.status) then
    run.due = true -- its timer, too, may have been left behind
    end_run(prefix, run_id, run.status, run.ended_at, run)
    if run.limits or run.fair then lines().leave_limits(prefix, run_id, run, now) end
    return true
  end
  local timer_lost = run.due and not has_timer(run, run_id)
  local place_lost = is_stuck(run.status) and not redis.call('ZSCORE', prefix .. 'stuck:' .. workflow, run_id)
  if run.status == 'waiting:held' and not is_held(run_id) then
    -- Its next claim holds it again where it must be.
    leave_place(prefix, run_id, run)
    requeue(prefix, run_id, run.queue, nil, taken_fence(run.fence))
    return true
  end
  local entry_lost = (run.status == 'pending' or run.status == 'running') and not has_entry(prefix, run, run_id)
  local key_lost = run.unique and not holds_unique(prefix, run.unique, run_id)
  if timer_lost then set_due(prefix, run_id, run.due) end
  if place_lost then redis.call('ZADD', prefix .. 'stuck:' .. workflow, now, run_id) end
  if entry_lost then requeue(prefix, run_id, run.queue, run.entry, taken_fence(run.fence)) end
  if key_lost then redis.call('SET', prefix .. 'unique:' .. run.unique, run_id) end
  local slot_lost = not entry_lost and restore_place(run, run_id)
  if string.sub(run.status, 1, 7) == 'waiting' then look_for_kids(prefix, run_id) end
  local turn_lost, lane_lost = restore_turn(run, run_id), restore_lane(run)
  return timer_lost or place_lost or entry_lost or key_lost or slot_lost or turn_lost or lane_lost
end

local runs = redis.call('ZRANGE', listing, first, first + step - 1)
for _, run_id in ipairs(runs) do
  local fine, changed = pcall(reconcile, run_id)
  if fine and changed then repaired = repaired + 1 end
end
for hash, kind in pairs(waiting) do repaired = repaired + lines().tidy_line(prefix, hash, kind, now) end
return { 'ok', #runs, repaired }

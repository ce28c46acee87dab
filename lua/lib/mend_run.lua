-- @include lib/requeue.lua
-- @include lib/set_due.lua
-- @include lib/end_run.lua
-- @include lib/has_entry.lua
-- @include lib/holds_unique.lua
-- @include lib/is_terminal.lua
-- @include lib/use_lane.lua
-- @include lib/look_for_kids.lua
-- @include lib/lines.lua
-- @include lib/queue_up.lua
-- @include lib/taken_fence.lua

-- A run's hash is the truth; its entry, its timer, its unique key, its slots, and its places in listings and lines are
-- hints, which are rebuilt from it where they are lost. Of each function: whether something was.
local function has_timer(prefix, run, run_id)
  local due = redis.call('ZSCORE', prefix .. 'delayed', run_id)
  return due and tonumber(due) == run.due
end

-- Of a run that waits for a limit, or holds slots or a place in a window. `waiting` gets each line that somebody waits
-- in, with its kind.
local function restore_place(prefix, run, run_id, now, waiting)
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
local function is_held(prefix, run, run_id)
  return redis.call('ZSCORE', prefix .. 'held:' .. run.workflow, run_id)
    and redis.call('HEXISTS', prefix .. 'controls', 'w:' .. run.workflow) == 1
end

-- Of a run whose entry is in a lane: whether claims would not read it.
local function restore_lane(prefix, run)
  local lane = (run.status == 'pending' or run.status == 'running') and string.match(run.entry or '', '^%d')
  if not lane or not use_lane(prefix, run.queue, lane) then return false end
  ring(prefix, run.queue)
  return true
end

-- Of a run that waits for its turn behind others of its schedule: whether it would never have come.
local function restore_turn(prefix, run, run_id, now)
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

-- It has ended: whatever an end leaves, it leaves now.
local function mend_ended(prefix, run_id, run, now)
  local was_due = redis.call('ZSCORE', prefix .. 'delayed', run_id)
  local was_listed = redis.call('ZSCORE', prefix .. 'done:' .. run.workflow .. ':' .. run.status, run_id)
  local was_unfinished = redis.call('ZSCORE', prefix .. 'runs:' .. run.workflow, run_id)
  run.due = true -- its timer, too, may have been left behind
  end_run(prefix, run_id, run.status, run.ended_at, run)
  if run.limits or run.fair then lines().leave_limits(prefix, run_id, run, now) end
  return was_due or was_unfinished or not was_listed or tonumber(was_listed) ~= tonumber(run.ended_at)
end

-- The words that it returns say what was lost, in this order; none: nothing.
local function mend_run(prefix, run_id, run, now, waiting)
  if is_terminal(run.status) then return mend_ended(prefix, run_id, run, now) and { 'end' } or {} end
  if run.status == 'waiting:held' and not is_held(prefix, run, run_id) then
    -- Its next claim holds it again where it must be.
    leave_place(prefix, run_id, run)
    requeue(prefix, run_id, run.queue, nil, taken_fence(run.fence))
    return { 'hold' }
  end
  local stuck = prefix .. 'stuck:' .. run.workflow
  local lost = {}
  local function note(word, is_lost)
    if is_lost then lost[#lost + 1] = word end
    return is_lost
  end
  -- Stores of the first version have no list of queues.
  note('queue', run.queue and redis.call('SADD', prefix .. 'queues', run.queue) == 1)
  local is_ready = run.status == 'pending' or run.status == 'running'
  if note('timer', run.due and not has_timer(prefix, run, run_id)) then set_due(prefix, run_id, run.due) end
  if note('place', is_stuck(run.status) and not redis.call('ZSCORE', stuck, run_id)) then
    redis.call('ZADD', stuck, now, run_id)
  end
  local entry_lost = note('entry', is_ready and not has_entry(prefix, run, run_id))
  if entry_lost then requeue(prefix, run_id, run.queue, run.entry, taken_fence(run.fence)) end
  if note('unique key', run.unique and not holds_unique(prefix, run.unique, run_id)) then
    redis.call('SET', prefix .. 'unique:' .. run.unique, run_id)
  end
  note('limit', not entry_lost and restore_place(prefix, run, run_id, now, waiting))
  if string.sub(run.status, 1, 7) == 'waiting' then look_for_kids(prefix, run_id) end
  note('turn', restore_turn(prefix, run, run_id, now))
  note('lane', restore_lane(prefix, run))
  return lost
end

#!lua flags=allow-oom
-- Upkeep of one stream: give the runs whose lease is over back to it, a bounded step at a time. The cursor is kept
-- here, so that the next step goes on where this one stopped, whichever worker takes it.
--
-- Moves    running -> pending | failed (poisoned)
-- Replies  ok <next cursor | end> <reclaimed> <poisoned> <lost entries>

-- @include lib/clock.lua
-- @include lib/requeue.lua
-- @include lib/end_by_verdict.lua
-- @include lib/is_alive.lua
-- @include lib/load_run.lua

local prefix      = KEYS[1]   -- str   of every key in the partition
local queue       = ARGV[1]   -- str
local lane        = ARGV[2]   -- str   0 to 9 | w
local lease_ms    = ARGV[3]   -- ms    idle for so long, an entry's lease is over
local step        = ARGV[4]   -- int   entries at most
local crash_limit = ARGV[5]   -- int   crashes in a row that make a run poisoned

local stream = prefix .. 'q:' .. queue .. ':' .. lane
local cursors, field = prefix .. 'upkeep', queue .. ':' .. lane
local from = redis.call('HGET', cursors, field) or '-'
local pending = redis.pcall('XPENDING', stream, 'workers', from, '+', step)
if pending.err then return { 'ok', 'end', 0, 0, 0 } end

local now = now_ms()
local reclaimed, poisoned, lost = 0, 0, 0

-- Whether its worker is alive, for all that can be told. A worker that died right after a heartbeat that did not know of
-- this run yet is present for a little longer than the run's lease lasts, at most until its next heartbeat would have
-- come: a quarter of a lease, after which it is known.
local function is_told_alive(worker, idle_ms)
  if not is_alive(prefix, worker, now) then return false end
  return true, idle_ms < 1.25 * lease_ms
end

local function reclaim(entry, worker, run_id, idle_ms)
  local run = load_run(prefix, run_id)
  -- Pending: an entry that something else than claim_runs has read; nobody holds the run.
  if not run or run.entry ~= entry or (run.status ~= 'running' and run.status ~= 'pending') then
    return leave_stream(prefix, queue, entry)
  end
  if run.status == 'running' then
    -- A worker that is alive but did not renew (its process was paused, its event loop blocked) has not crashed.
    -- Nor is it the fault of a run that had not begun: it only waited there (its progress is noted as empty).
    local alive, is_early = is_told_alive(worker, idle_ms)
    if run.has_begun and alive and is_early then return end
    if run.has_begun and not alive then
      run.crashes = run.crashes + 1
      redis.call('HSET', prefix .. 'run:' .. run_id, 'x', run.crashes)
      if run.crashes >= tonumber(crash_limit) then
        end_by_verdict(prefix, run_id, 'failed', 'poisoned', now, run)
        poisoned = poisoned + 1
        return
      end
    end
    tell_holder(prefix, queue, entry, run_id)
  end
  requeue(prefix, run_id, queue, entry, taken_fence(run.fence))
  reclaimed = reclaimed + 1
end

for _, item in ipairs(pending) do
  if item[3] >= tonumber(lease_ms) then
    local found = redis.call('XRANGE', stream, item[1], item[1])[1]
    if not (found and pcall(reclaim, lane .. ':' .. item[1], item[2], found[2][2], item[3])) then
      leave_stream(prefix, queue, lane .. ':' .. item[1])
      lost = lost + 1
    end
  end
end
if #pending < tonumber(step) then
  redis.call('HDEL', cursors, field)
  return { 'ok', 'end', reclaimed, poisoned, lost }
end
local cursor = '(' .. pending[#pending][1]
redis.call('HSET', cursors, field, cursor)
return { 'ok', cursor, reclaimed, poisoned, lost }

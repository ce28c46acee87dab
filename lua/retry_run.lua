#!lua flags=allow-oom
-- Let a failed run go on in place: what it completed stays. The records say which failures no longer count.
--
-- Moves    failed -> pending
-- Replies  retried | already <status> | late | changed | busy | taken <run_id> | missing
--          late: its deadline has passed; changed: its record is not the one that was read; busy: the children that it
--          left behind are still being looked after; taken: another run has its unique key
--
-- It is told which retry this is, so that a repeat is known, and so are two people who ask for the same.

-- @include lib/clock.lua
-- @include lib/append_records.lua
-- @include lib/has_turn.lua
-- @include lib/holds_unique.lua
-- @include lib/instant.lua
-- @include lib/load_run.lua
-- @include lib/orphan_kids.lua
-- @include lib/requeue.lua
-- @include lib/set_due.lua
-- @include lib/taken_fence.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local run_id   = ARGV[1]   -- str
local retry    = ARGV[2]   -- int   how often it was retried, this time included
local before   = ARGV[3]   -- str   the mark of its record as it was read
local after    = ARGV[4]   -- str   the same with the records appended
local deadline = ARGV[5]   -- str   a new one: "+ms" from now, or unix ms; empty: as it is
local records  = 6         -- tail

local run_key = prefix .. 'run:' .. run_id
local run = load_run(prefix, run_id)
if not run then return { 'missing' } end
local r = redis.call('HMGET', run_key, 'h', 'rt', 'c')
if tonumber(r[2] or '0') >= tonumber(retry) then return { 'retried' } end
if run.status ~= 'failed' then return { 'already', run.status } end
if r[1] ~= before then return { 'changed' } end
if redis.call('EXISTS', prefix .. 'kids:' .. run_id) == 1 then
  -- What was to look after them may be lost.
  if redis.call('EXISTS', prefix .. 'outbox') == 0 then orphan_kids(prefix, run_id) end
  return { 'busy' }
end
local holder = run.unique and redis.call('GET', prefix .. 'unique:' .. run.unique)
if holder and holder ~= run_id and holds_unique(prefix, run.unique, run_id) then return { 'taken', holder } end
local now = now_ms()
local deadline_at_ms = instant(deadline, now) or run.deadline
if deadline_at_ms and deadline_at_ms <= now then return { 'late' } end

-- First among the unfinished: what is listed there is looked after, wherever this stops.
redis.call('ZADD', prefix .. 'runs:' .. run.workflow, r[3], run_id)
local fields = { 'h', after, 'rt', retry }
if deadline_at_ms then
  fields[5], fields[6], fields[7], fields[8] = 'dl', deadline_at_ms, 'd', deadline_at_ms
  set_due(prefix, run_id, deadline_at_ms)
end
if run.unique then redis.call('SET', prefix .. 'unique:' .. run.unique, run_id) end
-- Beside another run of its schedule, where one goes on: whoever retries it wants it now.
if run.schedule then has_turn(prefix, run.schedule, run_id) end
redis.call('ZREM', prefix .. 'done:' .. run.workflow .. ':failed', run_id)
-- Its entry before anything is taken from it: the rest is in the run's own key, and cannot fail.
requeue(prefix, run_id, run.queue, nil, taken_fence(run.fence))
append_records(run_key, fields, before, records, #ARGV)
redis.call('HDEL', run_key, 'o', 'er', 't', 'ca', 'x', 'z', 'xp', 'im')
return { 'retried' }

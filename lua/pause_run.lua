#!lua flags=allow-oom
-- Pause a run, whatever it is doing. Its holder is shut out and told; what it had not recorded runs again later. What
-- falls due meanwhile waits; its deadline does not, and it can be canceled.
--
-- Moves    pending | running | waiting -> waiting:paused
-- Replies  paused | already <status> | missing

-- @include lib/clock.lua
-- @include lib/earlier.lua
-- @include lib/is_terminal.lua
-- @include lib/leave_place.lua
-- @include lib/leave_stream.lua
-- @include lib/load_run.lua
-- @include lib/set_due.lua
-- @include lib/taken_fence.lua
-- @include lib/tell_holder.lua
-- @include lib/lines.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local run = load_run(prefix, run_id)
if not run then return { 'missing' } end
if run.status == 'waiting:paused' then return { 'paused' } end
if is_terminal(run.status) then return { 'already', run.status } end

local run_key = prefix .. 'run:' .. run_id
-- What it waits for until then is kept beside its status: resume_run lets it wait on, or looks at once.
local limit_ms = earlier(run.deadline, run.expires)
local own_due = run.due ~= limit_ms and run.due or nil
if run.status == 'running' then tell_holder(prefix, run.queue, run.entry, run_id) end
redis.call('HSET', run_key, 's', 'waiting:paused', 'f', taken_fence(run.fence),
  'pz', own_due and run.status .. ' ' .. string.format('%d', own_due) or run.status)
redis.call('HDEL', run_key, 'e', 'p', 'ls')
if run.entry then leave_stream(prefix, run.queue, run.entry) end
leave_place(prefix, run_id, run)
if run.limits or run.fair then lines().leave_limits(prefix, run_id, run, now_ms()) end
if own_due and limit_ms then
  redis.call('HSET', run_key, 'd', limit_ms)
  set_due(prefix, run_id, limit_ms)
elseif own_due then
  redis.call('HDEL', run_key, 'd')
  redis.call('ZREM', prefix .. 'delayed', run_id)
end
return { 'paused' }

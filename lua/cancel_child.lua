#!lua flags=allow-oom
-- From an outbox: cancel a child that nobody waits for any more. One that was ordered and is not here yet will not be
-- created: whoever ordered it may still be about to.
--
-- Moves    pending | running | waiting -> canceled
-- Replies  canceled | already <status> | prevented

-- @include lib/clock.lua
-- @include lib/is_terminal.lua
-- @include lib/load_run.lua
-- @include lib/end_by_verdict.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local day_ms = 86400000  -- an order that is older than a day is not under way any more

local run = load_run(prefix, run_id)
if not run then
  redis.call('SET', prefix .. 'idem:' .. run_id, 'prevented', 'PX', day_ms)
  return { 'prevented' }
end
if is_terminal(run.status) then return { 'already', run.status } end

end_by_verdict(prefix, run_id, 'canceled', 'canceled', now_ms(), run) -- or once its compensations have ended
return { 'canceled' }

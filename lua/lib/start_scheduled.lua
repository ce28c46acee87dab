-- @include lib/cancel_queued.lua
-- @include lib/has_ended.lua
-- @include lib/pass_turn.lua
-- @include lib/store_run.lua
-- @include lib/was_started.lua

-- Create a run of a schedule, whose row begins at `at` in ARGV, as its overlap policy says: at once, behind the one that
-- is going on, in its place, or not at all. Returns created | skipped.
local function start_scheduled(prefix, schedule, on, overlap, at, now)
  local run_id, listing, queue = ARGV[at], prefix .. 'runs:' .. ARGV[at + 1], prefix .. 'queued:' .. schedule
  if was_started(prefix, run_id) then return 'created' end
  if not on or has_ended(prefix, on) then on = pass_turn(prefix, schedule, now) end
  local waits = on and overlap == 'queue'
  if on and overlap == 'skip' then return 'skipped' end
  if waits and redis.call('LLEN', queue) >= 100 then return 'skipped' end

  if on and not waits then cancel_queued(prefix, schedule, on, now) end
  local stamp = string.format('%d', now)
  redis.call('ZADD', listing, stamp, run_id)
  redis.call('SADD', prefix .. 'workflows', ARGV[at + 1])
  if waits then redis.call('RPUSH', queue, run_id) end
  store_run(prefix, at, now, stamp, nil, waits and 'overlap')
  redis.call('HSET', prefix .. 'schedule:' .. schedule, 'lr', run_id, 'on', waits and on or run_id)
  return 'created'
end

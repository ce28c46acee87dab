-- @include lib/set_due.lua

-- Let the first run that is queued behind others of its schedule start, and return its id: it is due now, and whoever
-- wakes what is due brings it to its stream. Those that ended while they waited are passed over. It leaves the queue
-- last: where its timer cannot be set, it still waits there.
local function pass_turn(prefix, schedule, now)
  local key, queue = prefix .. 'schedule:' .. schedule, prefix .. 'queued:' .. schedule
  local run_id = redis.call('LINDEX', queue, 0)
  while run_id do
    local run_key = prefix .. 'run:' .. run_id
    local waits = redis.pcall('HGET', run_key, 's') == 'waiting:overlap'
    if waits then
      set_due(prefix, run_id, now)
      redis.call('HSET', run_key, 's', 'waiting:start', 'd', now)
      redis.call('HSET', key, 'on', run_id)
    end
    redis.call('LPOP', queue)
    if waits then return run_id end
    run_id = redis.call('LINDEX', queue, 0)
  end
  redis.call('HDEL', key, 'on')
end

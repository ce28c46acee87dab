-- @include lib/end_by_verdict.lua
-- @include lib/is_terminal.lua
-- @include lib/load_run.lua

-- Cancel the runs that are queued (100 at most), and the one that is going on if it is named. The queue goes first:
-- whoever ends would start the next of it.
local function cancel_queued(prefix, schedule, on, now)
  local queue = prefix .. 'queued:' .. schedule
  local ids = redis.call('LRANGE', queue, 0, -1)
  ids[#ids + 1] = on
  redis.call('DEL', queue)
  for _, run_id in ipairs(ids) do
    local run = load_run(prefix, run_id)
    if run and not is_terminal(run.status) then end_by_verdict(prefix, run_id, 'canceled', 'canceled', now, run) end
  end
end

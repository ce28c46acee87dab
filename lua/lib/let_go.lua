-- @include lib/load_run.lua
-- @include lib/wake_run.lua

-- Let the oldest runs that a workflow's pause holds go, and mark them with the release, whose claims they pass.
local function let_go(prefix, workflow, count, release)
  local held = prefix .. 'held:' .. workflow
  if count <= 0 then return 0 end
  local run_ids = redis.call('ZRANGE', held, 0, count - 1)
  for _, run_id in ipairs(run_ids) do
    -- One broken hash must not stop the others: it leaves the list, and reconcile_runs tells of it.
    redis.pcall('ZREM', held, run_id)
    pcall(function()
      local run = load_run(prefix, run_id)
      if not run or run.status ~= 'waiting:held' then return end
      if release then redis.call('HSET', prefix .. 'run:' .. run_id, 'rl', release) end
      wake_run(prefix, run_id, run)
    end)
  end
  return #run_ids
end

-- @include lib/wake_blocked.lua

-- A run no longer runs: its slots go to those that wait for them. What it has used of a rate stays used; a slot that
-- was given to it, and was never used, does not.
local function free_slots(prefix, run_id, limits, now)
  for hash, period in string.gmatch(limits, '(%x+):%d+:(%d+)') do
    local holders = prefix .. 'limit:' .. hash
    if period == '0' or tonumber(redis.call('ZSCORE', holders, run_id) or 0) == GIVEN then
      if redis.call('ZREM', holders, run_id) == 1 then wake_blocked(prefix, hash, now) end
    end
  end
end

local function free_one(prefix, run_id, now)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'lk')
  if r[1] ~= 'running' and r[2] then free_slots(prefix, run_id, r[2], now) end
end

-- Of runs whose holders said `free`, those that no longer run. What fails is put right by reconcile_runs.
local function free_noted(prefix, run_ids, now)
  for _, run_id in ipairs(run_ids) do pcall(free_one, prefix, run_id, now) end
end

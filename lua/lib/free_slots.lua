-- @include lib/permits.lua
-- @include lib/wake_blocked.lua

-- Returns whether a slot has become free: what was used of a rate stays used; one that was given and never used does not.
local function free_slot(prefix, hash, period, holder)
  local holders = prefix .. 'limit:' .. hash
  if period ~= '0' and tonumber(redis.call('ZSCORE', holders, holder) or 0) ~= GIVEN then return false end
  local is_freed = redis.call('ZREM', holders, holder) == 1
  keep_rate(holders, tonumber(period))
  return is_freed
end

-- A run no longer runs: its slots go to those that wait for them.
local function free_slots(prefix, run_id, limits, now)
  if is_spread(limits) then return return_permits(prefix, run_id, limits) end
  for hash, period in string.gmatch(limits, '(%x+):%d+:(%d+)') do
    if free_slot(prefix, hash, period, run_id) then wake_blocked(prefix, hash, now) end
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

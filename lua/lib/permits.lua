-- @include lib/post.lua

-- Limits that are not all decided in the partition of their run: `lk` names the partition of each, as
-- "<hash>:<count>:<period ms>@<partition>", in the order of their hashes. There it is decided as everywhere, and the
-- slot that a run is given is called a permit: "<run id>/<round>:<count>:<period ms>". The run asks for one after the
-- other, in that order, so that no two runs wait for each other, and gives all of them back when it no longer runs.
--
-- `pm` of a run is "<round> <how many of its limits it has been given>", the round alone once it has given them back.
-- Messages go through the outbox, so they come late, twice, or in another order. What belongs to an earlier round is
-- known by its number, and what nobody wants goes back where it came from.
local function is_spread(limits) return string.find(limits, '@', 1, true) ~= nil end

local function is_rate(bounds) return string.sub(bounds, -2) ~= ':0' end

local function read_permits(limits)
  local permits = {}
  for hash, bounds, home in string.gmatch(limits, '(%x+):(%d+:%d+)@(%d+)') do
    permits[#permits + 1] = { hash = hash, bounds = bounds, is_rate = is_rate(bounds), home = home }
  end
  return permits
end

local function read_round(text)
  local round, given = string.match(text or '0', '^(%d+) ?(%d*)$')
  return tonumber(round), tonumber(given)
end

-- The place of the next one that the run needs behind those it has. A rate counts first claims only.
local function next_permit(permits, given, has_begun)
  for place = given + 1, #permits do
    if not (has_begun and permits[place].is_rate) then return place end
  end
end

-- Tell the partition where a limit is decided: `ask_permit`, `hold_permit`, `return_permit`.
local function tell_home(prefix, what, run_id, round, permit, ...)
  local name = string.format('%s/%d:%s', run_id, round, permit.bounds)
  post(prefix, 'do', what, 'run', run_id, 'to', permit.home, 'hash', permit.hash, 'permit', name, ...)
end

local function ask_permit(prefix, run_id, round, permit)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 'pr', 'c')
  tell_home(prefix, 'ask_permit', run_id, round, permit, 'priority', r[1] or '0', 'created', r[2])
end

-- The run no longer runs, or no longer waits: what it was given, and what it has asked for, goes back. It asks for no
-- permit of a rate once it has begun.
local function return_permits(prefix, run_id, limits)
  local key = prefix .. 'run:' .. run_id
  local r = redis.call('HMGET', key, 'pm', 'a')
  local round, given = read_round(r[1])
  if not given then return end
  local permits = read_permits(limits)
  for place = 1, next_permit(permits, given, r[2]) or given do
    if not (r[2] and permits[place].is_rate) then
      tell_home(prefix, 'return_permit', run_id, round, permits[place])
    end
  end
  redis.call('HSET', key, 'pm', string.format('%d', round))
end

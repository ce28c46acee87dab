#!lua flags=allow-oom
-- From the outbox of the partition where a limit is decided: one of its slots, for a run that has asked for it. The run
-- asks for the next one that it needs, or goes to its stream. What it does not want goes back.
--
-- Moves    waiting:limited -> pending, where it was the last one
-- Replies  taken | known | returned

-- @include lib/enter_stream.lua
-- @include lib/permits.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local home   = ARGV[2]   -- int   the partition where the limit is decided
local hash   = ARGV[3]   -- str   the limit
local permit = ARGV[4]   -- str   <run id>/<round>:<count>:<period ms>

local key = prefix .. 'run:' .. run_id
local r = redis.call('HMGET', key, 's', 'lk', 'pm', 'a', 'q', 'ct')
local permits = read_permits(r[2] or '')
local round, given = read_round(r[3])
local this_round, bounds = string.match(permit, '/(%d+):(%d+:%d+)$')

local function is_given()
  for place = 1, given do
    if permits[place].hash == hash then return permits[place] end
  end
end

if given and tonumber(this_round) == round then
  local known = is_given()
  if known then
    if r[4] and known.is_rate then tell_home(prefix, 'hold_permit', run_id, round, known) end
    return { 'known' }
  end
  local place = next_permit(permits, given, r[4])
  if r[1] == 'waiting:limited' and place and permits[place].hash == hash then
    local following = next_permit(permits, place, r[4])
    redis.call('HSET', key, 'pm', string.format('%d %d', round, place))
    if following then
      ask_permit(prefix, run_id, round, permits[following])
    else
      redis.call('HSET', key, 's', 'pending', 'e', enter_stream(prefix, r[5] or nil, 'w', run_id))
    end
    return { 'taken' }
  end
end
-- A permit of a rate is used once its run has begun, and this stays so: the word of it may be on its way still. Of a run
-- that is gone nobody knows whether it had begun.
local may_be_used = is_rate(bounds) and (r[4] or r[6] or not r[1])
local what = may_be_used and 'hold_permit' or 'return_permit'
tell_home(prefix, what, run_id, tonumber(this_round), { hash = hash, bounds = bounds, home = home })
return { 'returned' }

-- @include lib/effects.lua

-- redis <once> <script> <count> <key> ... <count> <argument> ...: a script of the user's, in the step that records that
-- it was asked for. What comes of it becomes mail for the run. The receipt in `fx` makes it run once, even where a later
-- effect fails and the next holder brings all of them again: unlike other effects, it would change something.
effects.redis = function(prefix, run_id, at)
-- @include lib/pack_reply.lua
-- @include lib/run_given.lua
  local once, script, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local mail, names, values, first = prefix .. 'mail:' .. run_id, {}, {}, at + 3 + count
  for place = 1, count do names[place] = prefix .. 'u:' .. ARGV[at + 2 + place] end
  for place = 1, tonumber(ARGV[first]) do values[place] = ARGV[first + place] end
  -- Looked at before there is a receipt: where the reply cannot be put there, the script has not run.
  redis.call('HLEN', mail)
  if redis.call('HSETNX', prefix .. 'fx:' .. run_id, once, '') == 1 then
    local number = redis.call('HINCRBY', prefix .. 'run:' .. run_id, 'm', 1)
    local status, reply = run_given(script, names, values)
    redis.call('HSET', mail, number, table.concat({ 'r', once, status, reply }, '\n'))
  end
  return first + #values - at + 1
end

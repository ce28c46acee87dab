-- @include lib/effects.lua

-- verdict <cause>: what was fixed from outside is carried out. Only with the step that ends the run.
effects.verdict = function(prefix, run_id, at, _, ending)
  local key = prefix .. 'run:' .. run_id
  redis.call('HSET', key, 'ca', ARGV[at])
  redis.call('HDEL', key, 'vd', 'e')
  ending.cause = ARGV[at]
  return 1
end

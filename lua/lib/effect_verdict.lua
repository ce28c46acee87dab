-- @include lib/effects.lua

-- verdict <cause>: what was fixed from outside is carried out. Only with the step that ends the run.
effects.verdict = function(prefix, run_id, at, _, ending)
  local key, cause = prefix .. 'run:' .. run_id, ARGV[at]
  ending.cause = cause
  return 1, function()
    redis.call('HSET', key, 'ca', cause)
    redis.call('HDEL', key, 'vd', 'e')
  end
end

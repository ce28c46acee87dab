-- @include lib/effects.lua

-- trace <mark>: what the run's next holder is to know of this one, for traces.
effects.trace = function(prefix, run_id, at)
  redis.call('HSET', prefix .. 'run:' .. run_id, 'tl', ARGV[at])
  return 1
end

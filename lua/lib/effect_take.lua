-- @include lib/effects.lua

-- take <number>: this mail is in the run's record now.
effects.take = function(prefix, run_id, at)
  redis.call('HDEL', prefix .. 'mail:' .. run_id, ARGV[at])
  return 1
end

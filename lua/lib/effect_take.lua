-- @include lib/effects.lua

-- take <number>: this mail is in the run's record now.
effects.take = function(prefix, run_id, at)
  local mail, number = prefix .. 'mail:' .. run_id, ARGV[at]
  redis.call('HEXISTS', mail, number)
  return 1, function() redis.call('HDEL', mail, number) end
end

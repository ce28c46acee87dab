-- @include lib/effects.lua

-- kid <run id> <cancel | leave>: the run waits for this child from now on; and what becomes of it if the run ends first.
effects.kid = function(prefix, run_id, at)
  redis.call('HSET', prefix .. 'kids:' .. run_id, ARGV[at], ARGV[at + 1])
  return 2
end

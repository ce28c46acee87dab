-- @include lib/effects.lua

-- compensable: the run has something to undo: a verdict from outside does not end it before that is done.
effects.compensable = function(prefix, run_id)
  redis.call('HSET', prefix .. 'run:' .. run_id, 'cp', '1')
  return 0
end

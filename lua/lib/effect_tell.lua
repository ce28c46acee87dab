-- @include lib/effects.lua
-- @include lib/tell_parent.lua

-- tell <run id>: the run's end is told to its parent. Only with the step that ends it.
effects.tell = function(prefix, run_id, at, now, ending)
  tell_parent(prefix, ARGV[at], run_id, ending.status, ending.cause or '', ending.payload, now)
  return 1
end

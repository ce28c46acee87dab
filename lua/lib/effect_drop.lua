-- @include lib/effects.lua
-- @include lib/post.lua

-- drop <run id>: nobody waits for this child any more. Unless it was to be left alone, it is canceled.
effects.drop = function(prefix, run_id, at)
  local kids, child = prefix .. 'kids:' .. run_id, ARGV[at]
  local policy = redis.call('HGET', kids, child)
  if policy == 'cancel' then post(prefix, 'do', 'cancel', 'run', child) end
  return 1, function() redis.call('HDEL', kids, child) end
end

-- @include lib/effects.lua
-- @include lib/post.lua

-- drop <run id>: nobody waits for this child any more. Unless it was to be left alone, it is canceled.
effects.drop = function(prefix, run_id, at)
  local kids = prefix .. 'kids:' .. run_id
  local policy = redis.call('HGET', kids, ARGV[at])
  if policy then
    redis.call('HDEL', kids, ARGV[at])
    if policy == 'cancel' then post(prefix, 'do', 'cancel', 'run', ARGV[at]) end
  end
  return 1
end

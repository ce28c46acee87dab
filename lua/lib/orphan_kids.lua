-- @include lib/post.lua

-- A run has ended, or is being undone, before children that it waited for: they are looked after one by one. Once it was
-- retried by hand, it has others again.
local function orphan_kids(prefix, run_id)
  if redis.call('EXISTS', prefix .. 'kids:' .. run_id) == 0 then return end
  local retries = redis.call('HGET', prefix .. 'run:' .. run_id, 'rt') or '0'
  post(prefix, 'do', 'end_kids', 'run', run_id, 'rt', retries)
end

-- @include lib/post.lua

-- A run has ended before children that it waited for: they are looked after one by one.
local function orphan_kids(prefix, run_id)
  if redis.call('EXISTS', prefix .. 'kids:' .. run_id) == 1 then post(prefix, 'do', 'end_kids', 'run', run_id) end
end

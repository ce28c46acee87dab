-- @include lib/post.lua

-- A waiting run may have missed the end of a child: a mailbox or an outbox was lost, or a worker did not know that it
-- had to tell. Some of its children are looked at; not while there is much else to be done.
local function look_for_kids(prefix, run_id)
  if redis.call('EXISTS', prefix .. 'kids:' .. run_id) == 1 and redis.call('XLEN', prefix .. 'outbox') < 1000 then
    post(prefix, 'do', 'look_kids', 'run', run_id)
  end
end

-- @include lib/stream_of.lua

-- Tell the worker that holds a run that it no longer does, or (with what follows the id) that there is news for it. It
-- would learn so from its next commit or heartbeat; this makes a canceled body end within milliseconds.
local function tell_holder(prefix, queue, entry, run_id, news)
  local stream, id = stream_of(prefix, queue, entry), string.sub(entry, 3)
  local pending = redis.pcall('XPENDING', stream, 'workers', id, id, 1)
  if not pending.err and pending[1] then
    redis.call('SPUBLISH', prefix .. 'worker:' .. pending[1][2], run_id .. (news or ''))
  end
end

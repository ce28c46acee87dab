-- @include lib/stream_of.lua

-- JUSTID: without it each renewal would raise the entry's delivery counter. Where the group is lost there is no lease
-- to renew: reconcile_runs gives the run back, and the caller's other work must not fail for it.
local function renew_lease(prefix, queue, entry, worker)
  redis.pcall('XCLAIM', stream_of(prefix, queue, entry), 'workers', worker, 0, string.sub(entry, 3), 'JUSTID')
end

-- @include lib/stream_of.lua

-- Whether a run's entry is in its stream, and pending there if somebody holds the run.
-- A stream that was lost and made anew may have given the id of this run's entry to another run: not ours to drop.
local function has_entry(prefix, run, run_id)
  if not run.entry then return false end
  local stream, id = stream_of(prefix, run.queue, run.entry), string.sub(run.entry, 3)
  local found = redis.call('XRANGE', stream, id, id)[1]
  if found and found[2][2] ~= run_id then run.entry = nil end
  if not found or not run.entry then return false end
  if run.status == 'pending' then return true end
  local pending = redis.pcall('XPENDING', stream, 'workers', id, id, 1)
  return not pending.err and pending[1] ~= nil
end

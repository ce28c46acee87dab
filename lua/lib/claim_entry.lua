-- @include lib/end_by_verdict.lua
-- @include lib/leave_stream.lua
-- @include lib/next_fence.lua

-- Claim the run that an entry names; returns the bytes of its history. An entry that is not the run's current one is
-- dropped, a run whose deadline has passed ends: then there is nothing to claim.
local function claim_entry(prefix, queue, entry, run_id, nonce, now)
  local key = prefix .. 'run:' .. run_id
  local r = redis.call('HMGET', key, 's', 'e', 'f', 'h', 'a', 'dl', 'w', 'd')
  if r[1] ~= 'pending' or r[2] ~= entry then return leave_stream(prefix, queue, entry) end
  local deadline = r[6] and tonumber(r[6])
  if deadline and deadline <= now then
    return end_by_verdict(prefix, run_id, 'failed', 'deadline', now,
      { status = r[1], entry = entry, fence = r[3], workflow = r[7], queue = queue, due = r[8] })
  end
  local bytes = assert(tonumber(string.match(r[4], ':(%d+)$')))
  redis.call('HSET', key, 's', 'running', 'f', next_fence(r[3], nonce), 'a', r[5] or now)
  return bytes
end

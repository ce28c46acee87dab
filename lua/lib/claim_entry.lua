-- @include lib/end_by_verdict.lua
-- @include lib/leave_stream.lua
-- @include lib/next_fence.lua

-- Claim the run that an entry names, and return its fields: all of them, as they are now. An entry that is not the
-- run's current one is dropped, a run whose deadline has passed ends: then there is nothing to claim.
local function claim_entry(prefix, queue, entry, run_id, nonce, stamp, read)
  local key = prefix .. 'run:' .. run_id
  local fields = read(key)
  local run, status_at, fence_at = {}, nil, #fields + 2
  for at = 1, #fields, 2 do
    local name, value = fields[at], fields[at + 1]
    if name == 's' then
      run.status, status_at = value, at + 1
    elseif name == 'f' then
      run.fence, fence_at = value, at + 1
    elseif name == 'e' then
      run.entry = value
    elseif name == 'h' then
      run.mark = value
    elseif name == 'a' then
      run.claimed = true
    elseif name == 'dl' then
      run.deadline = tonumber(value)
    elseif name == 'w' then
      run.workflow = value
    elseif name == 'd' then
      run.due = value
    end
  end
  if run.status ~= 'pending' or run.entry ~= entry then return leave_stream(prefix, queue, entry) end
  if run.deadline and run.deadline <= tonumber(stamp) then
    run.queue = queue
    return end_by_verdict(prefix, run_id, 'failed', 'deadline', tonumber(stamp), run)
  end
  assert(string.match(run.mark, '^%d+:%d+$'))
  fields[status_at], fields[fence_at - 1], fields[fence_at] = 'running', 'f', next_fence(run.fence, nonce)
  if run.claimed then
    redis.call('HSET', key, 's', 'running', 'f', fields[fence_at])
  else
    redis.call('HSET', key, 's', 'running', 'f', fields[fence_at], 'a', stamp)
    fields[#fields + 1] = 'a'
    fields[#fields + 1] = stamp
  end
  return fields
end

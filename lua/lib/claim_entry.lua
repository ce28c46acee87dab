-- @include lib/end_if_late.lua
-- @include lib/leave_stream.lua
-- @include lib/next_fence.lua

-- Claim the run that an entry names, and return its fields as they are from now on. An entry that is not the run's
-- current one is dropped, a run whose deadline has passed ends: then there is nothing to claim.
local function claim_entry(prefix, queue, entry, run_id, nonce, stamp, read)
  local key = prefix .. 'run:' .. run_id
  local fields = read(key)
  local count = #fields
  local status_at, fence_at, current, mark, claimed, deadline
  for at = 1, count, 2 do
    local name = fields[at]
    if name == 's' then
      status_at = at + 1
    elseif name == 'e' then
      current = fields[at + 1]
    elseif name == 'h' then
      mark = fields[at + 1]
    elseif name == 'f' then
      fence_at = at + 1
    elseif name == 'a' then
      claimed = true
    elseif name == 'dl' then
      deadline = fields[at + 1]
    end
  end
  if fields[status_at] ~= 'pending' or current ~= entry then return leave_stream(prefix, queue, entry) end
  if end_if_late(prefix, run_id, deadline, tonumber(stamp)) then return nil end
  assert(string.find(mark, '^%d+:%d+$'))

  local fence = next_fence(fence_at and fields[fence_at], nonce)
  fields[status_at] = 'running'
  if fence_at then
    fields[fence_at] = fence
  else
    fields[count + 1], fields[count + 2] = 'f', fence
    count = count + 2
  end
  if claimed then
    redis.call('HSET', key, 's', 'running', 'f', fence)
  else
    redis.call('HSET', key, 's', 'running', 'f', fence, 'a', stamp)
    fields[count + 1], fields[count + 2] = 'a', stamp
  end
  return fields
end

-- @include lib/leave_stream.lua
-- @include lib/next_fence.lua
-- @include lib/stop_expiry.lua
-- @include lib/wake_due.lua

-- Claim the run that an entry names, and return its row: what its worker cannot tell by itself. An entry that is not
-- the run's current one is dropped, a run whose deadline (or start-by time, at its first claim) has passed ends, and
-- one whose limits have no slot for it waits: then there is nothing to claim.
local function claim_entry(prefix, queue, entry, run_id, nonce, stamp, read)
  local key = prefix .. 'run:' .. run_id
  -- A table that grows is copied: there is room for what a new run has.
  local fields, row, size = read(key), { run_id, entry, nil, nil, nil, nil, nil, nil, nil, nil }, 2
  local status, current, mark, fence, claimed, deadline, expires, limits, fair
  for at = 1, #fields, 2 do
    local name, value = fields[at], fields[at + 1]
    if name == 's' then
      status = value
    elseif name == 'e' then
      current = value
    elseif name == 'h' then
      mark = value
    elseif name == 'f' then
      fence = value
    else
      if name == 'a' then
        claimed = true
      elseif name == 'dl' then
        deadline = value
      elseif name == 'xp' then
        expires = value
      elseif name == 'lk' then
        limits = value
      elseif name == 'fp' then
        fair = value
      end
      row[size + 1], row[size + 2] = name, value
      size = size + 2
    end
  end
  if status ~= 'pending' or current ~= entry then return leave_stream(prefix, queue, entry) end
  local now = (expires or deadline or limits or fair) and tonumber(stamp)
  if claimed then expires = nil end
  if expires then
    local run = when_due().load_run(prefix, run_id)
    if when_due().end_if_expired(prefix, run_id, run, now) then return nil end
  end
  if deadline and tonumber(deadline) <= now and when_due().end_if_late(prefix, run_id, deadline, now) then return nil end
  assert(string.find(mark, '^%d+:%d+$'))
  if limits or fair then
    local may_run = when_due().lines().take_limits(prefix, queue, entry, run_id, limits, fair, claimed, now)
    if not may_run then return nil end
  end
  if expires then stop_expiry(prefix, run_id, deadline) end

  if not fence and not claimed then
    redis.call('HSET', key, 's', 'running', 'f', '1:' .. nonce, 'a', stamp)
    return row
  end
  fence = next_fence(fence, nonce)
  redis.call('HSET', key, 's', 'running', 'f', fence, claimed and 's' or 'a', claimed and 'running' or stamp)
  row[size + 1], row[size + 2], row[size + 3], row[size + 4] = 'f', fence, 'h', mark
  if not claimed then row[size + 5], row[size + 6] = 'a', stamp end
  return row
end

-- @include lib/is_terminal.lua

-- The opening of every script that a holder calls. The record only grows, by its holder alone, so its mark
-- ("<records>:<bytes>") tells a first call from a repeat whose reply was lost: `before` applies, `after` was applied.
local function hold(run_key, fence, entry, before, after)
  local r = redis.call('HMGET', run_key, 's', 'f', 'e', 'h', 'w', 'q', 'd', 'dl', 'aw', 'x', 'p', 'z')
  if not r[1] then return 'missing' end
  if r[2] ~= fence then return is_terminal(r[1]) and 'ended' or 'fenced' end
  local run = {
    status = r[1], fence = r[2], entry = r[3], workflow = r[5], queue = r[6] or nil, due = r[7],
    deadline = r[8] and tonumber(r[8]), awaited = r[9], passing = r[7] or r[10] or r[11] or r[12]
  }
  if r[1] == 'running' and r[3] == entry and r[4] == before then return 'ok', run end
  return r[4] == after and 'repeat' or 'behind', run
end

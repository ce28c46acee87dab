-- @include lib/is_terminal.lua

-- The opening of every script that a holder calls. The record only grows, by its holder alone, so its mark
-- ("<records>:<bytes>") tells a first call from a repeat whose reply was lost: `before` applies, `after` was applied.
-- Returns the word, and the fields s f e h dl and those that are asked for besides: no more than are needed, because
-- looking for a field that is not there reads the whole hash.
local function hold(run_key, fence, entry, before, after, ...)
  local r = redis.call('HMGET', run_key, 's', 'f', 'e', 'h', 'dl', ...)
  if not r[1] then return 'missing' end
  if r[2] ~= fence then return is_terminal(r[1]) and 'ended' or 'fenced' end
  if r[1] == 'running' and r[3] == entry and r[4] == before then
    -- A net: more than the engine lets a record grow to. Who is over it already goes on in small steps, to its end.
    local bytes = #after > 10 and tonumber(string.match(after, '%d+$')) or 0
    if bytes > 134217728 and bytes - tonumber(string.match(before, '%d+$')) > 4194304 then return 'oversized' end
    return 'ok', r
  end
  return r[4] == after and 'repeat' or 'behind', r
end

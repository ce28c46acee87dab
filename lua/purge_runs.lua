#!lua flags=allow-oom
-- Delete finished runs that have been kept for as long as they should: a bounded step, the oldest of each listing first.
--
-- Replies  ok <purged> <whether there is more: 1 | 0> { <listing, from 1> <how many stay> ... } <run_id> ...
--          the oldest of a listing that stay, though their end is long ago: they were imported since. The ids are those of
--          all that were deleted, where that is asked for
--
-- Sent again, it goes on with what is left; whose ids were lost with a reply is found by the sweep of the store.

-- @include lib/clock.lua
-- @include lib/forget_run.lua

local prefix    = KEYS[1]   -- str   of every key in the partition
local limit     = ARGV[1]   -- int   runs at most
local all_bytes = ARGV[2]   -- int   of their inputs and records; one run more than that is still deleted
local tell      = ARGV[3]   -- word  ids | empty
local listings  = 4         -- tail  workflow, status, ms for which such runs are kept, how many of the oldest are known to stay

local now = now_ms()
local room, bytes = tonumber(limit), tonumber(all_bytes)
local staying = {}
local reply = { 'ok', 0, 0, staying }

-- Bytes that were freed; nil where it stays. A run that the listing names by mistake is only taken off it: its hash is
-- the truth.
local function purge(run_id, status, keep_ms)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'h', 'tg', 'sg', 'c', 'im')
  if r[1] ~= status then return 0 end
  local imported_ms = r[6] and tonumber(string.match(r[6], '^%d+'))
  if imported_ms and imported_ms > now - keep_ms then return nil end
  forget_run(prefix, run_id, r[3], r[4], now - (tonumber(r[5]) or 0))
  reply[2] = reply[2] + 1
  if tell == 'ids' then reply[#reply + 1] = run_id end
  return tonumber(string.match(r[2] or '', ':(%d+)$') or '0')
end

for place = listings, #ARGV, 4 do
  local workflow, status, keep_ms = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
  local listing = prefix .. 'done:' .. workflow .. ':' .. status
  local due = redis.call('ZRANGEBYSCORE', listing, '-inf', now - keep_ms, 'LIMIT', ARGV[place + 3], room)
  local left, stay = {}, 0
  for _, run_id in ipairs(due) do
    if bytes < 0 then break end
    local fine, freed = pcall(purge, run_id, status, keep_ms)
    -- What cannot be read is noted, and must not stand before the others for ever.
    if not fine then redis.call('ZADD', prefix .. 'broken', now, run_id) end
    bytes = bytes - (fine and freed or 0)
    if fine and not freed then stay = stay + 1 else left[#left + 1] = run_id end
  end
  if #left > 0 then redis.call('ZREM', listing, unpack(left)) end
  if stay > 0 then staying[#staying + 1], staying[#staying + 2] = (place - listings) / 4 + 1, stay end
  room = room - #left - stay
  if room == 0 or bytes < 0 then
    reply[3] = 1
    return reply
  end
end
return reply

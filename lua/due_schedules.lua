#!lua flags=allow-oom
-- The schedules that are due, with all that is needed to fire them, and when the next one is. Where a run was ended from
-- outside, or a queue was lost and is there again, its schedule is listed at 0: here the next run of it has its turn.
--
-- Moves    waiting:overlap -> waiting:start
-- Replies  ok <now_ms> <next_due_in_ms | -1> <{ schedule, fields }> ...

-- @include lib/clock.lua
-- @include lib/has_ended.lua
-- @include lib/pass_turn.lua
-- @include lib/set_next.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local limit  = ARGV[1]   -- int   schedules at most
local bytes  = ARGV[2]   -- int   of their inputs; the one that goes beyond it is the last

local now = now_ms()
local reply, left = { 'ok', now, -1 }, tonumber(bytes)

local function look(schedule)
  local key = prefix .. 'schedule:' .. schedule
  local r = redis.call('HMGET', key, 'n', 'pz', 'on')
  if not r[1] then return redis.call('ZREM', prefix .. 'schedules', schedule) end
  if not r[3] or has_ended(prefix, r[3]) then pass_turn(prefix, schedule, now) end
  if r[2] or r[1] == '' or tonumber(r[1]) > now then
    return set_next(prefix, schedule, r[2] and '' or r[1], true)
  end
  local fields = redis.call('HGETALL', key)
  reply[#reply + 1] = { schedule, fields }
  for at = 2, #fields, 2 do left = left - #fields[at] end
end

for _, schedule in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'schedules', '-inf', now, 'LIMIT', 0, limit)) do
  if left <= 0 then break end
  -- One broken hash must not stop the others: it is looked at again in a minute.
  if not pcall(look, schedule) then set_next(prefix, schedule, now + 60000, true) end
end

local first = redis.call('ZRANGE', prefix .. 'schedules', 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) < tonumber(never) then reply[3] = math.max(0, first[2] - now) end
return reply

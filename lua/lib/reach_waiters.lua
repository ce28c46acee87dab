-- @include lib/leave_signal.lua
-- @include lib/put_mail.lua
-- @include lib/read_kept.lua
-- @include lib/waits_for.lua

-- Note that a run has got a broadcast that is kept, so that it is not given it when it waits again.
local function note_given(key, hash, number, kept)
  local given, numbers = ' ' .. (redis.call('HGET', key, 'g' .. hash) or '') .. ' ', {}
  for _, one in ipairs(kept) do
    if one ~= number and string.find(given, ' ' .. one .. ' ', 1, true) then numbers[#numbers + 1] = one end
  end
  numbers[#numbers + 1] = number
  redis.call('HSET', key, 'g' .. hash, table.concat(numbers, ' '))
end

-- Give a broadcast to those who waited for its name before it began: up to 100 of them, or 4 MiB, after the one with
-- number `after`. Who waits no longer is taken off the list. Returns the number to go on after, empty where that were
-- all, and the runs that were reached. What was answered once is answered again, and nobody gets it twice.
local function reach_waiters(prefix, cast, after, now, most)
  local key = prefix .. 'cast:' .. cast.once
  local known = redis.call('HGET', key, after)
  if known then return known end
  local waiters, limit = prefix .. 'signal:' .. cast.hash, math.max(1, math.min(100, math.floor(4194304 / #cast.item)))
  local found = redis.call('ZRANGEBYSCORE', waiters, '(' .. after, cast.number, 'WITHSCORES', 'LIMIT', 0, limit)
  local kept = cast.is_kept and read_kept(prefix, cast.hash, now) or {}
  local reached = { #found == 2 * limit and found[#found] or '' }
  for at = 1, #found, 2 do
    local run_id = found[at]
    local run_key = prefix .. 'run:' .. run_id
    local waits = waits_for(redis.call('HGET', run_key, 'sg'), cast.hash)
    local word = waits and put_mail(prefix, run_id, cast.name, cast.item, now, most) or 'gone'
    if word == 'ok' then
      reached[#reached + 1] = run_id
      if cast.is_kept then note_given(run_key, cast.hash, cast.number, kept) end
    elseif word ~= 'full' then
      leave_signal(prefix, run_id, cast.hash) -- should it be retried in place, it registers anew
    end
  end
  local answer = table.concat(reached, ' ')
  redis.call('HSET', key, after, answer)
  return answer
end

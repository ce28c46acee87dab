-- @include lib/earlier.lua
-- @include lib/rules.lua
-- @include lib/set_due.lua

-- What follows from an input besides: the run waits for its start, so it has no place in any line yet.
local function push_limits(key, at)
  redis.call('HDEL', key, 'lk', 'fp', 'pr')
  for place = at + 11, at + 10 + ARGV[at + 10], 2 do
    local name = ARGV[place]
    if name == 'lk' or name == 'fp' or name == 'pr' then redis.call('HSET', key, name, ARGV[place + 1]) end
  end
end

-- Let the run that waits go on waiting, with the input of the new start and its limits. What is looked at before its
-- start, its deadline and its start-by, stays as the first start said.
local function push_start(prefix, run_id, run, at, due)
  local key, version, input = prefix .. 'run:' .. run_id, ARGV[at + 2], ARGV[at + 4]
  local due_ms = earlier(earlier(due, tonumber(run[3] or nil)), tonumber(run[4] or nil))
  redis.call('HSET', key, 'i', input, 'h', '0:' .. #input, 'av', due, 'd', due_ms)
  if version == '' then redis.call('HDEL', key, 'v') else redis.call('HSET', key, 'v', version) end
  push_limits(key, at)
  set_due(prefix, run_id, due_ms)
end

-- debounce <hash> <delay_ms> <at_most_ms | empty>: the first start waits; those that come before it has begun change
-- its input and put it off, up to `at_most_ms` after the first. The key is a hint: the hash says whether the run still
-- waits. It is kept for a minute longer than that can be.
rules.debounce = function(prefix, new, place, now)
  local key, delay, at_most = prefix .. 'debounce:' .. ARGV[place], tonumber(ARGV[place + 1]), ARGV[place + 2]
  local run_id, last = string.match(redis.call('GET', key) or '', '^(%S+) (%d*)$')
  local run = run_id and redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'av', 'dl', 'xp')
  if run and run[1] == 'waiting:start' and tonumber(run[2]) > now then
    local due = earlier(now + delay, tonumber(last))
    push_start(prefix, run_id, run, new.at, due)
    redis.call('SET', key, run_id .. ' ' .. last, 'PX', due - now + 60000)
    -- Asked again later, this start must not push anew: the id that its client made for it is remembered.
    local answer = string.format('%s %d', run_id, due)
    redis.call('SET', prefix .. 'joined:' .. new.run_id, answer, 'PX', 600000)
    return 3, { 'debounced', run_id, string.format('%d', due) }
  end
  last = at_most ~= '' and now + at_most or nil
  new.available = earlier(now + delay, last)
  return 3, nil, function()
    local value = new.run_id .. ' ' .. (last and string.format('%d', last) or '')
    redis.call('SET', key, value, 'PX', new.available - now + 60000)
  end
end

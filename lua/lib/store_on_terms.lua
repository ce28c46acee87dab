-- @include lib/earlier.lua
-- @include lib/instant.lua
-- @include lib/keep_key.lua
-- @include lib/list_tags.lua
-- @include lib/set_due.lua
-- @include lib/take_staged.lua
-- @include lib/lines.lua

-- As store_run, where a run has more than an input: its timer, its entry, and last its hash and its key.
local function store_on_terms(prefix, at, now, stamp, starts_at_ms, reason)
  local run_id, workflow, version, queue, input = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local idem = ARGV[at + 7]
  local fields = { 'w', workflow, 'i', input, 'c', stamp, 'h', '0:' .. #input }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  local available_at_ms, deadline_at_ms = starts_at_ms or instant(ARGV[at + 5], now), instant(ARGV[at + 6], now)
  if available_at_ms and available_at_ms <= now then available_at_ms = nil end
  local due_ms = earlier(available_at_ms, deadline_at_ms)
  if version ~= '' then field('v', version) end
  if queue ~= '' then
    field('q', queue)
    list_queue(prefix, queue)
  end
  if idem ~= '' then field('k', idem) end
  if deadline_at_ms then field('dl', deadline_at_ms) end
  local bytes, copied = #input, nil
  local priority, fair
  for place = at + 11, ARGV[at + 10] == '0' and 0 or at + 10 + ARGV[at + 10], 2 do
    local name, value = ARGV[place], ARGV[place + 1]
    if name == 'xp' then
      value = instant(value, now)
      due_ms = earlier(due_ms, value)
    elseif name == 'pr' then
      priority = value
    elseif name == 'fp' then
      fair = value
    end
    if name == 'h' then
      -- Its records as they were put aside; the input is counted here, as that of any run.
      copied = value
      bytes = bytes + tonumber(string.match(value, '%d+$'))
      value = string.match(value, '^%d+:') .. string.format('%d', bytes)
    end
    if name ~= 'mp' then field(name, value) end
    if name == 'tg' then list_tags(prefix, value, stamp, run_id) end
  end
  if due_ms then
    field('d', due_ms)
    set_due(prefix, run_id, due_ms)
  end
  if reason then
    field('s', 'waiting:' .. reason)
  elseif available_at_ms then
    field('av', available_at_ms)
    field('s', 'waiting:start')
  else
    local line, large = queue ~= '' and queue or nil, is_large(bytes)
    local entry
    if priority or fair then
      -- What begins with a record of another run has begun: only new runs take turns.
      entry = lines().enter_lane(prefix, run_id, line, priority, not copied and fair, stamp, large)
    else
      entry = enter_stream(prefix, line, '0', run_id, large)
    end
    field('s', entry and 'pending' or 'waiting:limited')
    field(entry and 'e' or 'ls', entry or fair)
  end
  if copied then take_staged(prefix, run_id) end
  redis.call('HSET', prefix .. 'run:' .. run_id, unpack(fields))
  if idem ~= '' then keep_key(prefix, at, run_id) end
  return available_at_ms
end

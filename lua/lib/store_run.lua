-- @include lib/earlier.lua
-- @include lib/instant.lua
-- @include lib/is_large.lua
-- @include lib/enter_stream.lua
-- @include lib/set_due.lua

-- Write a new run, whose row begins at `at` in ARGV: its timer, its entry, and last its hash and its key.
local function store_run(prefix, at, now, stamp)
  local run_id, workflow, version, queue, input = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local idem = ARGV[at + 7]
  local fields = { 'w', workflow, 'i', input, 'c', stamp, 'h', '0:' .. #input }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  local available_at_ms, deadline_at_ms = instant(ARGV[at + 5], now), instant(ARGV[at + 6], now)
  if available_at_ms and available_at_ms <= now then available_at_ms = nil end
  local due_ms = earlier(available_at_ms, deadline_at_ms)
  if version ~= '' then field('v', version) end
  if queue ~= '' then field('q', queue) end
  if idem ~= '' then field('k', idem) end
  if deadline_at_ms then field('dl', deadline_at_ms) end
  for place = at + 11, at + 10 + ARGV[at + 10], 2 do field(ARGV[place], ARGV[place + 1]) end
  if due_ms then
    field('d', due_ms)
    set_due(prefix, run_id, due_ms)
  end
  if available_at_ms then
    field('av', available_at_ms)
    field('s', 'waiting:start')
  else
    field('s', 'pending')
    field('e', enter_stream(prefix, queue ~= '' and queue or nil, '0', run_id, is_large(#input)))
  end
  redis.call('HSET', prefix .. 'run:' .. run_id, unpack(fields))
  if idem ~= '' then redis.call('SET', prefix .. 'idem:' .. idem, run_id .. ' ' .. ARGV[at + 9], 'PX', ARGV[at + 8]) end
end

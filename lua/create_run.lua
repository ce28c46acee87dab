#!lua
-- Create runs: of each its hash, its place in the listing, and its entry or its timer. Runs that are started at the
-- same time come in one call.
--
-- Moves    (nothing) -> pending | waiting:start
-- Replies  of each run: created | existing <run_id> | conflict <run_id> | broken
--
-- Sent twice, it answers `created` twice: a run id is made once, by its client.

-- @include lib/clock.lua
-- @include lib/collect.lua
-- @include lib/earlier.lua
-- @include lib/instant.lua
-- @include lib/is_large.lua
-- @include lib/enter_stream.lua
-- @include lib/set_due.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id workflow version queue input available deadline idem idem_ms fingerprint
-- Empty: no version, the default queue, available now, no deadline, no idempotency key. `available` and `deadline` are
-- "+ms" from now, or unix ms; `idem` is the key's hash, kept for `idem_ms`; `fingerprint` tells one input from another.

local now = now_ms()
local stamp = string.format('%d', now)
local listed, keys_here = {}, {}

local function known_by_key(idem, fingerprint)
  local known = keys_here[idem] or redis.call('GET', prefix .. 'idem:' .. idem)
  if not known then return nil end
  local first, print_of_first = string.match(known, '^(%S+) (.*)$')
  return { print_of_first == fingerprint and 'existing' or 'conflict', first }
end

local function judge(at)
  local run_id, idem, fingerprint = ARGV[at], ARGV[at + 7], ARGV[at + 9]
  if redis.call('EXISTS', prefix .. 'run:' .. run_id) == 1 then return { 'created' } end
  local known = idem ~= '' and known_by_key(idem, fingerprint)
  if known then return known end
  if idem ~= '' then keys_here[idem] = run_id .. ' ' .. fingerprint end
  local listing = prefix .. 'runs:' .. ARGV[at + 1]
  collect(listed, listing, stamp)
  collect(listed, listing, run_id)
  return nil
end

local function create(at)
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
  if idem ~= '' then redis.call('SET', prefix .. 'idem:' .. idem, keys_here[idem], 'PX', ARGV[at + 8]) end
  return { 'created' }
end

local replies = {}
for at = runs, #ARGV, 10 do replies[#replies + 1] = judge(at) or 'new' end
-- A run is written after its hints: what fails in between leaves no run, and hints without a run are dropped.
for listing, members in pairs(listed) do
  redis.call('ZADD', listing, unpack(members))
  redis.call('SADD', prefix .. 'workflows', string.sub(listing, #prefix + 6))
end
for place, reply in ipairs(replies) do
  if reply == 'new' then
    local at = runs + (place - 1) * 10
    local fine, created = pcall(create, at)
    replies[place] = fine and created or { 'broken' }
    if not fine then redis.pcall('ZREM', prefix .. 'runs:' .. ARGV[at + 1], ARGV[at]) end
  end
end
return replies

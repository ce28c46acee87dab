#!lua
-- Create a run: its hash, its place in the listing, and its entry or its timer.
--
-- Moves    (nothing) -> pending | waiting:start
-- Replies  created <now_ms> | existing <run_id> | conflict <run_id>
--
-- Sent twice, it answers `created` twice: a run id is made once, by its client.

-- @include lib/clock.lua
-- @include lib/earlier.lua
-- @include lib/instant.lua
-- @include lib/enter_stream.lua
-- @include lib/set_due.lua

local prefix      = KEYS[1]   -- str   of every key in the partition
local run_id      = ARGV[1]   -- str
local workflow    = ARGV[2]   -- str
local version     = ARGV[3]   -- str   empty: none
local queue       = ARGV[4]   -- str   empty: default
local input       = ARGV[5]   -- bytes
local available   = ARGV[6]   -- when  empty: now; "+ms" from now, or unix ms
local deadline    = ARGV[7]   -- when  empty: none
local idem        = ARGV[8]   -- str   hash of the idempotency key; empty: none
local idem_ms     = ARGV[9]   -- ms    how long the key is kept
local fingerprint = ARGV[10]  -- str   hash of workflow, version and input

local run_key = prefix .. 'run:' .. run_id
local now = now_ms()
if redis.call('EXISTS', run_key) == 1 then return { 'created', now } end
if idem ~= '' then
  local known = redis.call('GET', prefix .. 'idem:' .. idem)
  if known then
    local first, print_of_first = string.match(known, '^(%S+) (.*)$')
    return { print_of_first == fingerprint and 'existing' or 'conflict', first }
  end
end

local fields = { 'w', workflow, 'i', input, 'c', now, 'h', '0:' .. #input }
local function field(name, value)
  if not value or value == '' then return end
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
local available_at_ms, deadline_at_ms = instant(available, now), instant(deadline, now)
if available_at_ms and available_at_ms <= now then available_at_ms = nil end
local due_ms = earlier(available_at_ms, deadline_at_ms)
field('v', version)
field('q', queue)
field('k', idem)
field('dl', deadline_at_ms)
field('d', due_ms)
field('av', available_at_ms)

-- The hash is written after its hints: what fails in between leaves no run, and hints without a run are dropped.
redis.call('ZADD', prefix .. 'runs:' .. workflow, now, run_id)
redis.call('SADD', prefix .. 'workflows', workflow)
if due_ms then set_due(prefix, run_id, due_ms) end
if not available_at_ms then field('e', enter_stream(prefix, queue ~= '' and queue or nil, '0', run_id)) end
field('s', available_at_ms and 'waiting:start' or 'pending')
redis.call('HSET', run_key, unpack(fields))
if idem ~= '' then redis.call('SET', prefix .. 'idem:' .. idem, run_id .. ' ' .. fingerprint, 'PX', idem_ms) end
return { 'created', now }

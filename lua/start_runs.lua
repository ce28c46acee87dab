#!lua
-- Start runs that have rules: one at a time of a key (unique), one for many starts in a row (debounce), so many in a
-- window (throttle). Each rule is judged first, in the order in which it stands in the row; then the run is created.
--
-- Moves    (nothing) -> pending | waiting:start; an older run of the key: pending | running | waiting -> canceled
-- Replies  of each run: created <run_id> <available_ms | empty> | existing <run_id> | conflict <run_id> | active <run_id>
--          | debounced <run_id> <available_ms> | throttled <run_id> <free_ms> | full | beyond | oversized
--          | unstaged | broken
--
-- Sent twice, it answers what it has done: a run id is made once, by its client.

-- @include lib/clock.lua
-- @include lib/is_oversized.lua
-- @include lib/known_by_key.lua
-- @include lib/known_by_id.lua
-- @include lib/keep_key.lua
-- @include lib/rule_debounce.lua
-- @include lib/rule_throttle.lua
-- @include lib/rule_unique.lua
-- @include lib/store_run.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id workflow version queue input available deadline idem idem_ms fingerprint | fields | demands
-- The arguments before `demands` are those of create_run; `demands` are rules (lua/lib/rule_*.lua), each with what it
-- takes. A rule that decides when the run may begin comes with no `available`.

local now = now_ms()
local stamp = string.format('%d', now)

local function start(at, first, last)
  local run_id, workflow, idem = ARGV[at], ARGV[at + 1], ARGV[at + 7]
  local known = known_by_id(prefix, run_id) or idem ~= '' and known_by_key(prefix, idem, ARGV[at + 9])
  if known then return known end

  local new, writes = { at = at, run_id = run_id }, {}
  while first <= last do
    local size, reply, write = rules[ARGV[first]](prefix, new, first + 1, now)
    if reply then
      -- Whoever repeats the start with its key, after this run has ended too, is to be given this run.
      if idem ~= '' and (reply[1] == 'existing' or reply[1] == 'debounced') then keep_key(prefix, at, reply[2]) end
      return reply
    end
    writes[#writes + 1] = write
    first = first + 1 + size
  end

  if on_terms().is_beyond(at, now) then return { 'beyond' } end
  if is_oversized(ARGV[at + 4]) then return { 'oversized' } end
  if not on_terms().may_queue(prefix, at) then return { 'full' } end
  if not on_terms().has_record(prefix, at) then return { 'unstaged' } end
  for _, write in ipairs(writes) do write() end
  redis.call('ZADD', prefix .. 'runs:' .. workflow, stamp, run_id)
  redis.call('SADD', prefix .. 'workflows', workflow)
  local starts_at_ms = store_run(prefix, at, now, stamp, new.available)
  return { 'created', run_id, starts_at_ms and string.format('%d', starts_at_ms) or '' }
end

local replies, at = {}, runs
while ARGV[at] do
  local first = at + 12 + ARGV[at + 10]
  local last = first - 1 + ARGV[first - 1]
  local fine, reply = pcall(start, at, first, last)
  if not fine then redis.pcall('ZREM', prefix .. 'runs:' .. ARGV[at + 1], ARGV[at]) end
  replies[#replies + 1] = fine and reply or { 'broken' }
  at = last + 1
end
return replies

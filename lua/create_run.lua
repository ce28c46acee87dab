#!lua
-- Create runs: of each its hash, its place in the listing, and its entry or its timer. Runs that are started at the
-- same time come in one call.
--
-- Moves    (nothing) -> pending | waiting:start | waiting:limited
-- Replies  of each run: created | existing <run_id> | conflict <run_id> | full | beyond | oversized
--          | unstaged | broken
--          full: as many as its client allows wait to be claimed; beyond: in more than ten years
--
-- Sent twice, it answers `created` twice, also where the run was deleted meanwhile: a run id is made once, by its client.

-- @include lib/clock.lua
-- @include lib/collect.lua
-- @include lib/is_oversized.lua
-- @include lib/store_run.lua
-- @include lib/was_started.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id workflow version queue input available deadline idem idem_ms fingerprint | fields
-- Empty: no version, the default queue, available now, no deadline, no idempotency key. `available` and `deadline` are
-- "+ms" from now, or unix ms; `idem` is the key's hash, kept for `idem_ms`; `fingerprint` tells one input from another;
-- `fields` are further fields of the run's hash, each with its value.

local now = now_ms()
local stamp = string.format('%d', now)
local listed, unlistable, runs_here, keys_here, created = {}, {}, {}, {}, { 'created' }

-- The reply, or `new` where the run is to be created, or `later` where that rests on an earlier row of this call.
local function judge(at)
  local run_id, workflow, idem = ARGV[at], ARGV[at + 1], ARGV[at + 7]
  if was_started(prefix, run_id) then return created end
  local known = idem ~= '' and on_terms().known_by_key(prefix, idem, ARGV[at + 9])
  if known then return known end
  if runs_here[run_id] or keys_here[idem] then return 'later' end
  if (ARGV[at + 5] ~= '' or ARGV[at + 6] ~= '') and on_terms().is_beyond(at, now) then return { 'beyond' } end
  if is_oversized(ARGV[at + 4]) then return { 'oversized' } end
  if ARGV[at + 10] ~= '0' then
    if not on_terms().may_queue(prefix, at) then return { 'full' } end
    if not on_terms().has_record(prefix, at) then return { 'unstaged' } end
  end
  runs_here[run_id] = true
  if idem ~= '' then keys_here[idem] = true end
  collect(listed, workflow, stamp, run_id)
  return 'new'
end

-- Turning a text into a number takes the server 0.1 us: most rows have no further fields, and say so by a `0`.
local replies, starts, next_at = {}, {}, runs
while ARGV[next_at] do
  local fine, reply = pcall(judge, next_at)
  replies[#replies + 1], starts[#starts + 1] = fine and reply or { 'broken' }, next_at
  local more = ARGV[next_at + 10]
  next_at = next_at + 11 + (more == '0' and 0 or more)
end
-- A run is written after its hints: what fails in between leaves no run, and hints without a run are dropped.
for workflow, members in pairs(listed) do
  local is_listed = type(redis.pcall('ZADD', prefix .. 'runs:' .. workflow, unpack(members))) == 'number'
    and type(redis.pcall('SADD', prefix .. 'workflows', workflow)) == 'number'
  if not is_listed then unlistable[workflow] = true end
end
for place, reply in ipairs(replies) do
  local at = starts[place]
  if reply == 'new' then
    local fine = not unlistable[ARGV[at + 1]] and pcall(store_run, prefix, at, now, stamp)
    replies[place] = fine and created or { 'broken' }
    if not fine then redis.pcall('ZREM', prefix .. 'runs:' .. ARGV[at + 1], ARGV[at]) end
  elseif reply == 'later' then
    local again = judge(at)
    replies[place] = again == 'later' and { 'broken' } or again
  end
end
return replies

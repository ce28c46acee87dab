#!lua flags=allow-oom
-- Append what the holders of runs have learnt, and end each run with its outcome. Runs that end at the same time come
-- in one call: leaving their streams and changing the listings is then one command for all of them.
--
-- Moves    running -> succeeded | failed | canceled, a passed deadline -> failed
-- Replies  of each run: ok | fenced | ended | behind | missing | oversized | broken

-- @include lib/clock.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/collect.lua
-- @include lib/leave_streams.lua
-- @include lib/told_end.lua
-- @include lib/apply_effects.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id fence entry before after status payload | records | effects

local now = now_ms()
local stamp = string.format('%d', now)
local left, unlisted, listed, awaited = {}, {}, {}, {}

local function finish(at, first, last, effects_end)
  local run_id, entry, before, after, status = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local run_key = prefix .. 'run:' .. run_id
  local word, run = hold(run_key, ARGV[at + 1], entry, before, after, 'w', 'q', 'd', 'aw', 'p')
  if word == 'repeat' then return is_terminal(run[1]) and 'ok' or 'behind' end
  if word ~= 'ok' then return word end
  local is_late = run[5] and tonumber(run[5]) <= now
  if is_late then return when_needed().end_if_late(prefix, run_id, run[5], now) end

  local ending, remove
  if effects_end > last + 1 then
    ending = { status = status, payload = ARGV[at + 6] }
    remove = when_needed().apply_effects(prefix, run_id, last + 2, effects_end, now, ending)
  end
  local workflow, queue, due, is_awaited = run[6], run[7] or 'default', run[8], run[9]
  local listing = workflow .. ':' .. status
  -- With room for one record: a table that grows is copied.
  local fields = { 's', status, 't', stamp, status == 'succeeded' and 'o' or 'er', ARGV[at + 6], 'h', after, nil, nil }
  append_records(run_key, fields, before, first, last)
  if remove then remove() end
  if due or run[10] then redis.call('HDEL', run_key, 'd', 'p') end
  if due then redis.call('ZREM', prefix .. 'delayed', run_id) end
  collect(left, queue .. ':' .. string.sub(entry, 1, 1), string.sub(entry, 3))
  collect(unlisted, workflow, run_id)
  collect(listed, listing, stamp, run_id)
  if is_awaited then awaited[run_id] = ending and ending.cause and status or told_end(workflow, status, ARGV[at + 6]) end
  return 'ok'
end

local replies, at = {}, runs
while ARGV[at] do
  local records = ARGV[at + 7]
  local last = at + 7 + (records == '1' and 1 or records)
  local effects_end = last + 1 + (ARGV[last + 1] == '0' and 0 or ARGV[last + 1])
  local fine, word = pcall(finish, at, at + 8, last, effects_end)
  replies[#replies + 1] = fine and word or 'broken'
  at = effects_end + 1
end

-- From here on only hints are written. The unfinished listing comes last: reconcile_runs looks after what is there.
leave_streams(prefix, left)
local all_listed = true
for name, members in pairs(listed) do
  if type(redis.pcall('ZADD', prefix .. 'done:' .. name, unpack(members))) ~= 'number' then all_listed = false end
end
if all_listed then
  for workflow, ids in pairs(unlisted) do redis.pcall('ZREM', prefix .. 'runs:' .. workflow, unpack(ids)) end
end
for run_id, told in pairs(awaited) do redis.call('SPUBLISH', prefix .. 'done:' .. run_id, told) end
if seldom then seldom.free_slots_noted(prefix, now) end
return replies

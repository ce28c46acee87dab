#!lua flags=allow-oom
-- Append what the holders of runs have learnt, and let each run wait: nobody holds it until it is due or told. Runs that
-- park at the same time come in one call.
--
-- Moves    running -> waiting:<reason>, a passed deadline -> failed
-- Replies  of each run: ok | mail | fenced | ended | behind | missing | oversized | broken
--          mail: there is mail that the holder has not seen, so it goes on holding the run; its records were appended

-- @include lib/clock.lua
-- @include lib/collect.lua
-- @include lib/earlier.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/set_due.lua
-- @include lib/has_mail.lua
-- @include lib/leave_streams.lua
-- @include lib/apply_effects.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id fence entry before after reason due seen wants | records | effects
-- `reason` is timer, retry, signal or child; `due` the earliest of what it waits for, in ms, empty for none; `seen` the
-- number of the last mail that the holder knows, and `wants` the names of the mail that wakes the run, each between
-- line breaks, both empty where it waits for none.

local now = now_ms()
local left = {}

local function park(at, first, last, effects_end)
  local run_id, entry, before, after = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local reason, due, seen, wants = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  local run_key = prefix .. 'run:' .. run_id
  local word, run = hold(run_key, ARGV[at + 1], entry, before, after, 'q')
  if word == 'repeat' then return run[1] == 'running' and 'mail' or 'ok' end
  if word ~= 'ok' then return word end
  local deadline = run[5] and tonumber(run[5])
  local is_late = deadline and deadline <= now
  if is_late then return when_needed().end_if_late(prefix, run_id, deadline, now) end

  local remove = effects_end > last + 1 and when_needed().apply_effects(prefix, run_id, last + 2, effects_end, now)
  if has_mail(run_key, seen) then
    append_records(run_key, { 'h', after }, before, first, last)
    if remove then remove() end
    return 'mail'
  end
  local due_ms = earlier(tonumber(due), deadline)
  local fields = { 'h', after, 's', 'waiting:' .. reason, nil, nil, nil, nil, nil, nil }
  if seen ~= '' then fields[5], fields[6] = 'wn', wants end
  if due_ms then
    fields[#fields + 1] = 'd'
    fields[#fields + 1] = due_ms
  end
  append_records(run_key, fields, before, first, last)
  if remove then remove() end
  redis.call('HDEL', run_key, 'e', 'x', 'p', 'z')
  collect(left, (run[6] or 'default') .. ':' .. string.sub(entry, 1, 1), string.sub(entry, 3))
  if due_ms then set_due(prefix, run_id, due_ms) end
  return 'ok'
end

local replies, at = {}, runs
while ARGV[at] do
  local records = ARGV[at + 9]
  local last = at + 9 + (records == '1' and 1 or records)
  local effects_end = last + 1 + (ARGV[last + 1] == '0' and 0 or ARGV[last + 1])
  local fine, word = pcall(park, at, at + 10, last, effects_end)
  replies[#replies + 1] = fine and word or 'broken'
  at = effects_end + 1
end
leave_streams(prefix, left)
if seldom then seldom.free_slots_noted(prefix, now) end
return replies

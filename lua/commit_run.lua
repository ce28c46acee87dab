#!lua flags=allow-oom
-- Append what the holders of runs have learnt; each goes on holding its run. Many commit at the same time: they come
-- in one call.
--
-- Moves    running -> running, a passed deadline -> failed
-- Replies  of each run: ok | mail | fenced | ended | behind | missing | oversized | broken
--          mail: it was done, and there is mail that the holder has not seen

-- @include lib/clock.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/has_mail.lua
-- @include lib/renew_lease.lua
-- @include lib/apply_effects.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id fence entry before after | records | effects
-- Before its effects stand the terms of a commit, of which most have none. In this order: `seen <number>`, that of the
-- last mail which the holder knows, where it waits for some; `renew <worker>`, where its lease is to be renewed;
-- `forget`, where crashes are no longer in a row.

local now = now_ms()

local function read_terms(at, last)
  local seen, renew, forget = '', nil, nil
  if at <= last and ARGV[at] == 'seen' then seen, at = ARGV[at + 1], at + 2 end
  if at <= last and ARGV[at] == 'renew' then renew, at = ARGV[at + 1], at + 2 end
  if at <= last and ARGV[at] == 'forget' then forget, at = true, at + 1 end
  return at, seen, renew, forget
end

local function commit(at, first, last, effects_end)
  local run_id, entry, before, after = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local run_key = prefix .. 'run:' .. run_id
  local effects, seen, renew, forget = last + 2, '', nil, nil
  if effects <= effects_end then effects, seen, renew, forget = read_terms(effects, effects_end) end
  local word, run = hold(run_key, ARGV[at + 1], entry, before, after)
  if word == 'repeat' then return has_mail(run_key, seen) and 'mail' or 'ok' end
  if word ~= 'ok' then return word end
  local is_late = run[5] and tonumber(run[5]) <= now
  if is_late then return when_needed().end_if_late(prefix, run_id, run[5], now) end
  local remove = effects <= effects_end and when_needed().apply_effects(prefix, run_id, effects, effects_end, now)
  append_records(run_key, { 'h', after, nil, nil }, before, first, last)
  if remove then remove() end
  if forget then redis.call('HDEL', run_key, 'x') end
  if renew then renew_lease(prefix, redis.call('HGET', run_key, 'q') or nil, entry, renew) end
  return has_mail(run_key, seen) and 'mail' or 'ok'
end

local replies, at = {}, runs
while ARGV[at] do
  local records = ARGV[at + 5]
  local last = at + 5 + (records == '1' and 1 or records)
  local effects_end = last + 1 + (ARGV[last + 1] == '0' and 0 or ARGV[last + 1])
  local fine, word = pcall(commit, at, at + 6, last, effects_end)
  replies[#replies + 1] = fine and word or 'broken'
  at = effects_end + 1
end
return replies

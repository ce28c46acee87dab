#!lua flags=allow-oom
-- Append what the holders of runs have learnt; each goes on holding its run. Many commit at the same time: they come
-- in one call.
--
-- Moves    running -> running, a passed deadline -> failed
-- Replies  of each run: ok | fenced | ended | behind | missing | broken

-- @include lib/clock.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/end_if_late.lua
-- @include lib/renew_lease.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local runs   = 1         -- rows  run_id fence entry before after renew forget | records
-- `renew` is the worker, if its lease is to be renewed; `forget` is `crashes` where they are no longer in a row.

local now = now_ms()

local function commit(at, last)
  local run_id, entry, before, after = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local renew, forget = ARGV[at + 5], ARGV[at + 6]
  local run_key = prefix .. 'run:' .. run_id
  local word, run = hold(run_key, ARGV[at + 1], entry, before, after)
  if word == 'repeat' then return 'ok' end
  if word ~= 'ok' then return word end
  if end_if_late(prefix, run_id, run[5], now) then return 'ended' end
  append_records(run_key, { 'h', after }, before, at + 8, last)
  if forget ~= '' then redis.call('HDEL', run_key, 'x') end
  if renew ~= '' then renew_lease(prefix, redis.call('HGET', run_key, 'q') or nil, entry, renew) end
  return 'ok'
end

local replies, at = {}, runs
while ARGV[at] do
  local last = at + 7 + ARGV[at + 7]
  local fine, word = pcall(commit, at, last)
  replies[#replies + 1] = fine and word or 'broken'
  at = last + 1
end
return replies

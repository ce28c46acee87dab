#!lua flags=allow-oom
-- Append what a run's holder has learnt; it goes on holding the run.
--
-- Moves    running -> running, a passed deadline -> failed
-- Replies  ok | fenced | ended | behind | missing

-- @include lib/clock.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/end_by_verdict.lua
-- @include lib/renew_lease.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local fence  = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local entry  = ARGV[3]   -- str   the run's current entry
local before = ARGV[4]   -- str   the mark that this commit extends
local after  = ARGV[5]   -- str   the mark that it leaves
local renew  = ARGV[6]   -- str   the worker, if its lease is to be renewed; else empty
local forget = ARGV[7]   -- word  crashes: the record moves on, so they are no longer in a row; else empty
local tail   = 8         -- tail  records

local run_key = prefix .. 'run:' .. run_id
local word, run = hold(run_key, fence, entry, before, after)
if word == 'repeat' then return { 'ok' } end
if word ~= 'ok' then return { word } end
if run.deadline then
  local now = now_ms()
  if run.deadline <= now then
    end_by_verdict(prefix, run_id, 'failed', 'deadline', now, run)
    return { 'ended' }
  end
end

append_records(run_key, { 'h', after }, before, tail)
if forget ~= '' then redis.call('HDEL', run_key, 'x') end
if renew ~= '' then renew_lease(prefix, run.queue, entry, renew) end
return { 'ok' }

#!lua flags=allow-oom
-- Append what a run's holder has learnt, and end the run with its outcome.
--
-- Moves    running -> succeeded | failed, a passed deadline -> failed
-- Replies  ok | fenced | ended | behind | missing

-- @include lib/clock.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/end_by_verdict.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local run_id  = ARGV[1]   -- str
local fence   = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local entry   = ARGV[3]   -- str   the run's current entry
local before  = ARGV[4]   -- str   the mark that this commit extends
local after   = ARGV[5]   -- str   the mark that it leaves
local status  = ARGV[6]   -- word  succeeded | failed
local payload = ARGV[7]   -- bytes the output, or the error
local tail    = 8         -- tail  records

local run_key = prefix .. 'run:' .. run_id
local word, run = hold(run_key, fence, entry, before, after)
if word == 'repeat' then return { is_terminal(run.status) and 'ok' or 'behind' } end
if word ~= 'ok' then return { word } end
local now = now_ms()
if run.deadline and run.deadline <= now then
  end_by_verdict(prefix, run_id, 'failed', 'deadline', now, run)
  return { 'ended' }
end

local fields = { 's', status, 't', now, status == 'succeeded' and 'o' or 'er', payload, 'h', after }
append_records(run_key, fields, before, tail)
redis.call('HDEL', run_key, 'e', 'd', 'x', 'p', 'z')
end_run(prefix, run_id, status, now, run)
return { 'ok' }

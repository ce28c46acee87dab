#!lua flags=allow-oom
-- Append what a run's holder has learnt, and let the run wait: nobody holds it until it is due or told.
--
-- Moves    running -> waiting:<reason>, a passed deadline -> failed
-- Replies  ok | fenced | ended | behind | missing

-- @include lib/clock.lua
-- @include lib/earlier.lua
-- @include lib/hold.lua
-- @include lib/append_records.lua
-- @include lib/end_if_late.lua
-- @include lib/set_due.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local fence  = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local entry  = ARGV[3]   -- str   the run's current entry
local before = ARGV[4]   -- str   the mark that this commit extends
local after  = ARGV[5]   -- str   the mark that it leaves
local reason = ARGV[6]   -- word  timer | retry
local due    = ARGV[7]   -- ms    the earliest of what it waits for
local tail   = 8         -- tail  records

local run_key = prefix .. 'run:' .. run_id
local word, run = hold(run_key, fence, entry, before, after, 'q')
if word == 'repeat' then return { 'ok' } end
if word ~= 'ok' then return { word } end
local deadline = run[5] and tonumber(run[5])
if end_if_late(prefix, run_id, deadline, deadline and now_ms()) then return { 'ended' } end

local due_ms = earlier(tonumber(due), deadline)
append_records(run_key, { 'h', after, 's', 'waiting:' .. reason, 'd', due_ms }, before, tail, #ARGV)
redis.call('HDEL', run_key, 'e', 'x', 'p', 'z')
leave_stream(prefix, run[6] or nil, entry)
set_due(prefix, run_id, due_ms)
return { 'ok' }

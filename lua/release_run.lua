#!lua flags=allow-oom
-- Hand a run back unfinished, for another worker to go on with now. No crash is counted.
--
-- Moves    running -> pending
-- Replies  ok | fenced | ended | missing

-- @include lib/is_terminal.lua
-- @include lib/requeue.lua
-- @include lib/returned_fence.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local fence  = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local entry  = ARGV[3]   -- str   the run's current entry

local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'f', 'e', 'q')
if not r[1] then return { 'missing' } end
if r[2] == returned_fence(fence) then return { 'ok' } end
if r[2] ~= fence then return { is_terminal(r[1]) and 'ended' or 'fenced' } end
if r[1] ~= 'running' or r[3] ~= entry then return { 'fenced' } end

requeue(prefix, run_id, r[4] or nil, entry, returned_fence(fence))
return { 'ok' }

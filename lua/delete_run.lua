#!lua flags=allow-oom
-- Delete a finished run with everything that is kept of it.
--
-- Replies  gone | unfinished <status>
--
-- Sent twice, it answers `gone` twice: also where the run was never there.

-- @include lib/clock.lua
-- @include lib/forget_run.lua
-- @include lib/is_terminal.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'w', 'tg', 'sg', 'c')
local status, workflow = r[1], r[2]
if not status then return { 'gone' } end
if not is_terminal(status) then return { 'unfinished', status } end

-- What it holds goes first. A listing that cannot be written names a run that is not there: whoever reads it passes over.
forget_run(prefix, run_id, r[3], r[4], now_ms() - (tonumber(r[5]) or 0))
redis.call('ZREM', prefix .. 'done:' .. workflow .. ':' .. status, run_id)
redis.call('ZREM', prefix .. 'runs:' .. workflow, run_id)
return { 'gone' }

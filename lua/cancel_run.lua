#!lua flags=allow-oom
-- Cancel a run, whatever it is doing. Its holder is shut out and told.
--
-- Moves    pending | running | waiting -> canceled
-- Replies  canceled | already <status> | missing

-- @include lib/clock.lua
-- @include lib/is_terminal.lua
-- @include lib/load_run.lua
-- @include lib/end_by_verdict.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local run = load_run(prefix, run_id)
if not run then return { 'missing' } end
if run.status == 'canceled' then return { 'canceled' } end
if is_terminal(run.status) then return { 'already', run.status } end

end_by_verdict(prefix, run_id, 'canceled', 'canceled', now_ms(), run)
return { 'canceled' }

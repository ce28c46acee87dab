#!lua flags=allow-oom
-- Cancel a run, whatever it is doing. Its holder is shut out and told. One that has compensations ends once they have.
--
-- Moves    pending | running | waiting -> canceled; with compensations: -> pending
-- Replies  canceled | canceling | already <status> | missing

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

-- What is fixed already stays: one that is to fail, because it is late, is not canceled.
if run.verdict and string.match(run.verdict, '^%a+') ~= 'canceled' then return { 'already', 'failed' } end

local ended = end_by_verdict(prefix, run_id, 'canceled', 'canceled', now_ms(), run)
return { ended and 'canceled' or 'canceling' }

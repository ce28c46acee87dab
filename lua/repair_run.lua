#!lua flags=allow-oom
-- For an audit: rebuild, from its hash, all that points to a run and is not as it should be.
--
-- Moves    running -> pending, where nothing holds the run any more
-- Replies  ok <what was lost> ..., nothing where all was as it should be | missing
--
-- Sent again it finds nothing more to do. Of its record and its fields nothing is changed but what a new entry brings.

-- @include lib/clock.lua
-- @include lib/load_run.lua
-- @include lib/mend_run.lua
-- @include lib/relist_run.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str

local run = load_run(prefix, run_id)
if not run then return { 'missing' } end

local now, reply = now_ms(), { 'ok' }
local function note(word, is_lost)
  if is_lost then reply[#reply + 1] = word end
end

relist_run(prefix, run_id, run, now, note)
-- Lines move on later, when all slots that were lost have been taken again: else more would run than may.
for _, word in ipairs(mend_run(prefix, run_id, run, now, {})) do note(word, true) end
tell_family(prefix, run_id, run, note)
redis.call('PERSIST', prefix .. 'run:' .. run_id)
return reply

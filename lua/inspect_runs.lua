#!lua flags=no-writes
-- For an audit: runs, and wherever each of them has to stand, as all of it is in this instant.
--
-- Replies  ok <now_ms> <row> ...: of each run that is stored its row; then { 'torn', name } of those whose other keys
--          could not be read, and rows of other keys and runs

-- @include lib/clock.lua
-- @include lib/look_around.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local first   = ARGV[1]   -- int   of a run that has more records than `most`: the first that is looked at
local most    = ARGV[2]   -- int   records of a run at most
local run_ids = 3         -- tail

local rows, later = {}, {}
local reply = { 'ok', now_ms() }
for place = run_ids, #ARGV do
  local run_id = ARGV[place]
  local row = run_facts(prefix, run_id, tonumber(first), tonumber(most))
  if row then
    reply[#reply + 1] = row
    local run = {}
    for at = 1, #row[6], 2 do run[row[6][at]] = row[6][at + 1] end
    -- One whose keys are of a wrong kind stops no other.
    if run.s and run.w and not pcall(look_around, prefix, rows, run_id, run) then later[#later + 1] = run_id end
  end
end
for _, run_id in ipairs(later) do reply[#reply + 1] = { 'torn', 'run:' .. run_id } end
for _, row in pairs(rows) do reply[#reply + 1] = row end
return reply

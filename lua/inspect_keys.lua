#!lua flags=no-writes
-- For an audit: a piece of each of these keys, and whatever says whether it belongs there, as all of it is in this
-- instant.
--
-- Replies  ok <now_ms> <row> ...: of each key that is there its row; { 'torn', name } of those about which other keys
--          could not be read; then rows of runs that they name, and of other keys

-- @include lib/clock.lua
-- @include lib/companions.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local most   = ARGV[1]   -- int   members of a key at most, and records of a run
local lone   = ARGV[2]   -- word  lone: without what else says whether they belong there | empty
local names  = 3         -- tail  name, and where to go on (0: at its beginning), of each key

local reply, rows = { 'ok', now_ms() }, {}
for place = names, #ARGV, 2 do
  local name, cursor = ARGV[place], ARGV[place + 1]
  local run_id = string.match(name, '^run:(.+)$')
  local row
  if run_id then
    row = run_facts(prefix, run_id, tonumber(cursor), tonumber(most))
  else
    row = key_facts(prefix, name, cursor, tonumber(most))
  end
  if row then
    reply[#reply + 1] = row
    if lone == '' and not pcall(add_companions, prefix, row, rows) then reply[#reply + 1] = { 'torn', name } end
  end
end
for _, row in pairs(rows) do reply[#reply + 1] = row end
return reply

#!lua flags=no-writes
-- Read a run's events from one on, in the order in which they came: as many as fit the budget, at least one.
--
-- Replies  ok <more: 0 | 1> <over: 0 | 1> <gap: 0 | 1> { <id> { <field> <value> ... } } ... | missing
--          over: the run has ended and these are its last; gap: older ones than these are no longer stored, and some of
--          them were after the one that was asked for

-- @include lib/is_terminal.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local after  = ARGV[2]   -- str   id of the last event that is known; empty for none
local limit  = ARGV[3]   -- int   events, or up to ten more
local bytes  = ARGV[4]   -- int   budget

local status = redis.call('HGET', prefix .. 'run:' .. run_id, 's')
if not status then return { 'missing' } end
local stream = prefix .. 'events:' .. run_id
local ended = is_terminal(status) and 1 or 0
if redis.call('EXISTS', stream) == 0 then return { 'ok', 0, ended, 0 } end

-- What was trimmed is counted by the stream itself; it is the oldest, so where one that is known is there, none is missed.
local function has_gap()
  if after ~= '' and redis.call('XRANGE', stream, '-', after, 'COUNT', 1)[1] then return false end
  local info = redis.call('XINFO', 'STREAM', stream)
  local about = {}
  for place = 1, #info, 2 do about[info[place]] = info[place + 1] end
  return about['entries-added'] > about['length']
end

local reply, budget, more = { 'ok', 0, 0, has_gap() and 1 or 0 }, tonumber(bytes), true
local from = after == '' and '-' or '(' .. after
while more and budget > 0 and #reply - 4 < tonumber(limit) do
  local found = redis.call('XRANGE', stream, from, '+', 'COUNT', 10)
  more = #found == 10
  for _, event in ipairs(found) do
    reply[#reply + 1], from = event, '(' .. event[1]
    budget = budget - #event[2][4]
  end
end
if more then reply[2] = 1 else reply[3] = ended end
return reply

#!lua flags=no-writes
-- A piece of several listings, merged: the runs that follow a place, with their times. A place is a time and, among the
-- runs of that time, an id; it need not be there any more. Without listings it only tells the time.
--
-- Replies  ok <now_ms> <1 where there is more | 0> <run_id> <ms> ...

-- @include lib/clock.lua
-- @include lib/slice.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local order    = ARGV[1]   -- str   newest | oldest
local at_ms    = ARGV[2]   -- ms    the place after which it begins
local at_id    = ARGV[3]   -- str   the same; empty: before every id, ~: behind every id
local until_ms = ARGV[4]   -- ms    the last time that is wanted
local limit    = ARGV[5]   -- int   runs at most
local listings = 6         -- tail  their names

local newest, most, last_ms = order == 'newest', tonumber(limit), tonumber(until_ms)
local filled = {}
for place = listings, #ARGV do
  if redis.call('EXISTS', prefix .. ARGV[place]) == 1 then filled[#filled + 1] = prefix .. ARGV[place] end
end
-- What is merged is sorted here: some 500 runs, a millisecond. Of most workflows no run is unfinished: they get no share.
local piece = math.min(most, math.max(5, math.floor(500 / math.max(1, #filled))))
local found, bound = {}, nil

local function comes_first(a, b)
  if a[2] ~= b[2] then return (a[2] > b[2]) == newest end
  return a[1] ~= b[1] and (a[1] > b[1]) == newest
end

for _, listing in ipairs(filled) do
  local members, last = slice(listing, newest, at_ms, at_id, piece), nil
  for at = 1, #members, 2 do
    last = { members[at], tonumber(members[at + 1]) }
    if last[2] == last_ms or (last[2] > last_ms) == newest then found[#found + 1] = last else last = nil end
  end
  -- Behind a full piece its listing may go on: of the others, nothing beyond that can be told yet.
  if #members == 2 * piece and last and (not bound or comes_first(last, bound)) then bound = last end
end

table.sort(found, comes_first)
local reply = { 'ok', now_ms(), bound and 1 or 0 }
for place, item in ipairs(found) do
  if place > most or (bound and comes_first(bound, item)) then
    reply[3] = 1
    break
  end
  reply[#reply + 1], reply[#reply + 2] = item[1], string.format('%d', item[2])
end
return reply

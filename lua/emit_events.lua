#!lua
-- Append what the bodies of a run's steps say to its events, and change its state as they say.
--
-- Replies  ok | full | fenced
--          full: as ok, but the state has as many keys as it may, so new ones were left out
--
-- A holder numbers its calls and makes one at a time, and the run remembers the last one. So what was said is not said
-- again, be it the last call, sent again because its reply was lost, or an earlier one that comes late.

-- @include lib/append_events.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local fence  = ARGV[2]   -- str   given by claim_runs; shuts earlier holders out
local number = ARGV[3]   -- int   of this call among those of this holder
local keep   = ARGV[4]   -- int   events that are kept, about
local most   = ARGV[5]   -- int   keys of the state
local count  = ARGV[6]   -- int   arguments that are events, at the beginning of the tail
local said   = 7         -- tail  kind data step attempt of each event, then key value of each change

local run_key, state = prefix .. 'run:' .. run_id, prefix .. 'state:' .. run_id
local r = redis.call('HMGET', run_key, 's', 'f', 'eb')
if r[1] ~= 'running' or r[2] ~= fence then return { 'fenced' } end

local last_fence, last_number = string.match(r[3] or '', '^(.*) (%d+)$')
local is_new = last_fence ~= fence or tonumber(number) > tonumber(last_number)
local changes, word = said + count, 'ok'
local keys = redis.call('HLEN', state)
for place = changes, #ARGV, 2 do
  local is_known = redis.call('HEXISTS', state, ARGV[place]) == 1
  if not is_known and keys >= tonumber(most) then
    word = 'full'
  elseif is_new then
    redis.call('HSET', state, ARGV[place], ARGV[place + 1])
    if not is_known then keys = keys + 1 end
  end
end
if is_new then
  append_events(prefix, run_id, keep, said, changes - 1)
  redis.call('HSET', run_key, 'eb', fence .. ' ' .. number)
end
return { word }

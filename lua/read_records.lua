#!lua flags=no-writes
-- Read a piece of a long history: as many records as fit the budget, at least one.
--
-- Replies  ok <record> ... | missing

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local first  = ARGV[2]   -- int   number of the first record
local last   = ARGV[3]   -- int   number of the last one wanted
local bytes  = ARGV[4]   -- int   budget

local run_key = prefix .. 'run:' .. run_id
local reply, budget = { 'ok' }, tonumber(bytes)
for number = tonumber(first), tonumber(last) do
  local record = redis.call('HGET', run_key, number)
  if not record then return { 'missing' } end
  reply[#reply + 1] = record
  budget = budget - #record
  if budget <= 0 or #reply > 1000 then break end
end
return reply

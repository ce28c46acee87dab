#!lua flags=no-writes
-- Read a run's mail from a number on, in the order in which it came: as much as fits the budget, at least one item.
--
-- Replies  ok <number up to which this is all> <more: 0 | 1> <number> <item> ...

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local after  = ARGV[2]   -- int   only mail with a larger number
local bytes  = ARGV[3]   -- int   budget
local step   = 500       -- items that are looked at in one call

local run_key, mail = prefix .. 'run:' .. run_id, prefix .. 'mail:' .. run_id
local count = tonumber(redis.call('HGET', run_key, 'm') or '0')
local reply, budget, number = { 'ok', count, 0 }, tonumber(bytes), tonumber(after)

-- Few items are found by their numbers; among many, the numbers follow each other with few gaps.
local numbers = {}
if redis.call('HLEN', mail) <= step then
  for _, name in ipairs(redis.call('HKEYS', mail)) do
    if tonumber(name) > number then numbers[#numbers + 1] = tonumber(name) end
  end
  table.sort(numbers)
else
  for next_number = number + 1, math.min(count, number + step) do numbers[#numbers + 1] = next_number end
  if number + step < count then reply[2], reply[3] = number + step, 1 end
end
for _, one in ipairs(numbers) do
  if budget <= 0 then
    reply[2], reply[3] = number, 1
    break
  end
  local item = redis.call('HGET', mail, string.format('%d', one))
  if item then
    reply[#reply + 1] = one
    reply[#reply + 1] = item
    budget = budget - #item
  end
  number = one
end
return reply

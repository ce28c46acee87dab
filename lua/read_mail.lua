#!lua flags=no-writes
-- Read a run's mail from a number on, in the order in which it came: as much as fits the budget, at least one item.
--
-- Replies  ok <number of the last mail that has come> <more: 0 | 1> <number> <item> ...

local prefix = KEYS[1]   -- str   of every key in the partition
local run_id = ARGV[1]   -- str
local after  = ARGV[2]   -- int   only mail with a larger number
local bytes  = ARGV[3]   -- int   budget

local numbers = {}
for _, number in ipairs(redis.call('HKEYS', prefix .. 'mail:' .. run_id)) do
  if tonumber(number) > tonumber(after) then numbers[#numbers + 1] = tonumber(number) end
end
table.sort(numbers)
local reply = { 'ok', tonumber(redis.call('HGET', prefix .. 'run:' .. run_id, 'm') or '0'), 0 }
local budget = tonumber(bytes)
for _, number in ipairs(numbers) do
  if budget <= 0 then
    reply[3] = 1
    break
  end
  local item = redis.call('HGET', prefix .. 'mail:' .. run_id, string.format('%d', number))
  reply[#reply + 1] = number
  reply[#reply + 1] = item
  budget = budget - #item
end
return reply

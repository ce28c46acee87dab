#!lua flags=no-writes
-- The names of the signals that lie in the mailboxes of runs, each with how many of it, without their data.
--
-- Replies  ok { <run_id> <items that were not looked at> <name> <count> ... } ... , of runs that have mail alone

local prefix = KEYS[1]     -- str   of every key in the partition
local most   = ARGV[1]     -- int   items of each run that are looked at, at most: its first
local bytes  = ARGV[2]     -- int   of all items that are looked at: Redis reads an item whole
local runs   = 3           -- tail  run ids
local keys   = 1000        -- items whose numbers are listed, of all runs together: a mailbox of more is not looked into

local reply, budget = { 'ok' }, tonumber(bytes)
for place = runs, #ARGV do
  local mail = prefix .. 'mail:' .. ARGV[place]
  local size = redis.pcall('HLEN', mail)
  size = type(size) == 'number' and size or 0
  local names, counts, left = {}, {}, size
  if size > 0 and size <= keys then
    keys = keys - size
    local numbers = redis.call('HKEYS', mail)
    table.sort(numbers, function(one, other) return (tonumber(one) or 0) < (tonumber(other) or 0) end)
    for at = 1, math.min(size, tonumber(most)) do
      local item_bytes = redis.call('HSTRLEN', mail, numbers[at])
      if item_bytes > budget then break end
      budget = budget - item_bytes
      left = left - 1
      local name = string.match(redis.call('HGET', mail, numbers[at]), '^s\n([^\n]*)\n')
      if name and not counts[name] then names[#names + 1] = name end
      if name then counts[name] = (counts[name] or 0) + 1 end
    end
  end
  if size > 0 then
    local row = { ARGV[place], left }
    for _, name in ipairs(names) do
      row[#row + 1] = name
      row[#row + 1] = counts[name]
    end
    reply[#reply + 1] = row
  end
end
return reply

-- The broadcasts of a name that are kept for those who start to wait: numbers and items in their order, and their bytes
-- all in all. What is kept no longer goes.
local function read_kept(prefix, hash, now)
  local key, numbers, items, bytes = prefix .. 'kept:' .. hash, {}, {}, 0
  local flat = redis.call('HGETALL', key)
  for at = 1, #flat, 2 do
    local until_ms, item = string.match(flat[at + 1], '^(%d+)\n(.*)$')
    if tonumber(until_ms) > now then
      numbers[#numbers + 1], items[flat[at]] = flat[at], item
      bytes = bytes + #item
    else
      redis.call('HDEL', key, flat[at])
    end
  end
  table.sort(numbers, function(a, b) return tonumber(a) < tonumber(b) end)
  return numbers, items, bytes
end

-- How many members stand before a place, from the listing's old end: those of earlier times, and of its own time the
-- ids before it (and its own, where `own`). It is found by halving, because thousands may be of one time.
local function rank_of(key, ms, id, own)
  local first = redis.call('ZCOUNT', key, '-inf', '(' .. ms)
  local last = first + redis.call('ZCOUNT', key, ms, ms)
  while first < last do
    local middle = math.floor((first + last) / 2)
    local member = redis.call('ZRANGE', key, middle, middle)[1]
    if member < id or (own and member == id) then first = middle + 1 else last = middle end
  end
  return first
end

-- The members of a listing that follow a place, each with its time.
local function slice(key, newest, ms, id, count)
  if not newest then
    local first = rank_of(key, ms, id, true)
    return redis.call('ZRANGE', key, first, first + count - 1, 'WITHSCORES')
  end
  local last = rank_of(key, ms, id, false) - 1
  if last < 0 then return {} end
  local skipped = redis.call('ZCARD', key) - 1 - last
  return redis.call('ZREVRANGE', key, skipped, skipped + count - 1, 'WITHSCORES')
end

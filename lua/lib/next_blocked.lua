-- Who is next in this line. In an eighth of the milliseconds of the server's clock it is somebody less urgent, of each
-- priority in turn, so that nobody starves behind those that are more so.
local function next_blocked(prefix, hash, now)
  local blocked = prefix .. 'blocked:' .. hash
  if now % 8 == 0 then
    local band = math.floor(now / 8) % 9 + 1
    local found = redis.call('ZRANGEBYSCORE', blocked, band * 2 ^ 42, '+inf', 'LIMIT', 0, 1)
    if found[1] then return found[1] end
  end
  return redis.call('ZRANGE', blocked, 0, 0)[1]
end

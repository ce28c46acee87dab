-- A run as a claim carries it: its whole hash, or, where its history is long, without its input and its records: those
-- are read afterwards, in pieces.
local function read_run(key, whole)
  if whole then return redis.call('HGETALL', key) end
  local wanted = { 'w', 'v', 'q', 'c', 'a', 's', 'e', 'f', 'h', 'x', 'dl', 'p' }
  local fields = {}
  for place, value in ipairs(redis.call('HMGET', key, unpack(wanted))) do
    if value then
      fields[#fields + 1] = wanted[place]
      fields[#fields + 1] = value
    end
  end
  return fields
end

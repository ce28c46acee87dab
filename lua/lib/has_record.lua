-- Whether the record with which the new run begins whose row is at `at` in ARGV is all there, where it begins with one
-- (`h`). What was put aside goes after a while, and may be lost with a server's last writes.
local function has_record(prefix, at)
  for place = at + 11, ARGV[at + 10] == '0' and 0 or at + 10 + ARGV[at + 10], 2 do
    if ARGV[place] == 'h' then
      local records = tonumber(string.match(ARGV[place + 1], '^%d+'))
      return redis.call('HLEN', prefix .. 'fork:' .. ARGV[at]) == records
    end
  end
  return true
end

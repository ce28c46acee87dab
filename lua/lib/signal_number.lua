-- The next number of the partition for whoever waits for signals, and for broadcasts: so it is known which came first.
local function signal_number(prefix)
  return redis.call('HINCRBY', prefix .. 'meta', 'signals', 1)
end

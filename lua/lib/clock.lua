-- The server's clock, in ms. Read once by a script: two reads inside one script may differ.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

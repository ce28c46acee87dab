-- Whether a partition takes the new run whose row begins at `at` in ARGV: where its client says how many may wait there
-- to be claimed (`mp`). They are counted once in a script.
local claimable
local function may_queue(prefix, at)
  local most
  for place = at + 11, ARGV[at + 10] == '0' and 0 or at + 10 + ARGV[at + 10], 2 do
    if ARGV[place] == 'mp' then most = tonumber(ARGV[place + 1]) end
  end
  if not most then return true end
  if not claimable then
    claimable = 0
    local queues = redis.call('SMEMBERS', prefix .. 'queues')
    queues[#queues + 1] = 'default'
    for _, queue in ipairs(queues) do
      for lane in string.gmatch('w0' .. (redis.call('HGET', prefix .. 'lanes', queue) or ''), '.') do
        local stream = prefix .. 'q:' .. queue .. ':' .. lane
        local entries = redis.call('XLEN', stream)
        local held = entries > 0 and redis.pcall('XPENDING', stream, 'workers')
        claimable = claimable + entries - (held and not held.err and held[1] or 0)
      end
    end
  end
  claimable = claimable + 1
  return claimable <= most
end

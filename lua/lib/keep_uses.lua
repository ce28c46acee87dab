-- A run begins anew, and will use its rates anew: what it has used of them counts on under another name, "<run id>~<how
-- often it had been continued>". The name that comes first: where it cannot be written, nothing has changed.
local function keep_uses(prefix, run_id, limits, continued)
  for hash in string.gmatch(limits, '(%x+):%d+:[1-9]') do
    local holders = prefix .. 'limit:' .. hash
    local used_at = redis.call('ZSCORE', holders, run_id)
    if used_at then
      redis.call('ZADD', holders, used_at, run_id .. '~' .. continued)
      redis.call('ZREM', holders, run_id)
    end
  end
end

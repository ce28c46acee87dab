-- Put a run among those that wait for a limit (or for their turn with others of their fair key): the more urgent first,
-- then who was created first. 2^42 ms is the year 2109. Returns 0 where it stands there already.
local function line_up(prefix, hash, run_id, priority, created)
  return redis.call('ZADD', prefix .. 'blocked:' .. hash, (9 - (priority or 0)) * 2 ^ 42 + created, run_id)
end

-- Let a run wait for a limit. Its entry has left the stream.
local function block_run(prefix, run_id, hash)
  local key = prefix .. 'run:' .. run_id
  local r = redis.call('HMGET', key, 'pr', 'c')
  line_up(prefix, hash, run_id, r[1], r[2])
  redis.call('HSET', key, 's', 'waiting:limited', 'ls', hash)
  redis.call('HDEL', key, 'e')
end

#!lua flags=allow-oom
-- Upkeep of one stream's consumers: those of dead workers that hold nothing are deleted, so that they do not pile up.
--
-- Replies  ok <deleted>

-- @include lib/clock.lua
-- @include lib/is_alive.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local queue  = ARGV[1]   -- str
local lane   = ARGV[2]   -- str   0 to 9 | w

local stream = prefix .. 'q:' .. queue .. ':' .. lane
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
if consumers.err then return { 'ok', 0 } end

local now, deleted = now_ms(), 0
for _, item in ipairs(consumers) do
  local name, pending = item[2], item[4]
  if pending == 0 and not is_alive(prefix, name, now) then
    redis.call('XGROUP', 'DELCONSUMER', stream, 'workers', name)
    deleted = deleted + 1
    -- Its last claim came after its good-bye: nothing else tells of it any more.
    if not redis.call('ZSCORE', prefix .. 'workers', name) then redis.call('UNLINK', prefix .. 'worker:' .. name) end
  end
end
-- Presence is kept for an hour after its end: who was here last is what one asks after an outage.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'workers', '-inf', now - 3600000, 'LIMIT', 0, 100)) do
  redis.call('ZREM', prefix .. 'workers', name)
  redis.call('UNLINK', prefix .. 'worker:' .. name)
end
redis.call('ZREMRANGEBYSCORE', prefix .. 'served', '-inf', now - 3600000)
return { 'ok', deleted }

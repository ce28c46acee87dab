#!lua flags=allow-oom
-- From the outbox of a run's partition: it asks for a slot of a limit that is decided here. It waits in the line of the
-- limit, and is given one as any run is. Asked again, it is told again what it was given.
--
-- Replies  given | waits

-- @include lib/clock.lua
-- @include lib/lines.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local hash     = ARGV[1]   -- str   the limit
local permit   = ARGV[2]   -- str   <run id>/<round>:<count>:<period ms>
local priority = ARGV[3]   -- int
local created  = ARGV[4]   -- ms    when the run was created

local now = now_ms()
local is_given = redis.call('ZSCORE', prefix .. 'limit:' .. hash, permit)
if is_given then
  lines().give_permit(prefix, hash, permit)
elseif lines().line_up(prefix, hash, permit, priority, created) == 1 then
  lines().wake_blocked(prefix, hash, now)
elseif redis.call('SET', prefix .. 'turn:line:' .. hash, '1', 'NX', 'PX', 20000) then
  -- It has waited for a while: whether those that are before it are still there. One of a line asks that for all.
  lines().tidy_line(prefix, hash, string.sub(permit, -2) == ':0' and 'concurrency' or 'rate', now)
end
return { (is_given or redis.call('ZSCORE', prefix .. 'limit:' .. hash, permit)) and 'given' or 'waits' }

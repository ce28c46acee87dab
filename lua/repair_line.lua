#!lua flags=allow-oom
-- For an audit: free a slot, or a place in a window or a line, of a run that has no right to it, and let go on who waits
-- where there is room. It looks again, because the store moves while it is audited.
--
-- Moves    waiting:limited -> pending
-- Replies  ok <1 where something was done | 0>

-- @include lib/clock.lua
-- @include lib/lines.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local name   = ARGV[1]   -- str   of the key, without the prefix: limit:, fair: or blocked:
local member = ARGV[2]   -- str   who stands there; empty: only the line moves

local key = prefix .. name
local what, rest = string.match(name, '^(%a+):(.*)$')

-- A slot, or a place in a window or a line, of a run that has no right to it. What was used of a rate stays used, also
-- before its run began anew (`~`); a permit is its run's to give back.
local function free()
  local r = redis.call('HMGET', prefix .. 'run:' .. string.match(member, '^[^~]*'), 's', 'ls', 'lk')
  local is_right = r[1] == 'pending'
  if what == 'blocked' then
    is_right = r[1] == 'waiting:limited' and r[2] == rest
  elseif what == 'limit' then
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    local is_rate = redis.call('PTTL', key) >= 0 or tonumber(last or 0) == 9e15
      or string.find(r[3] or '', rest .. ':%d+:[1-9]')
    is_right = is_right or (is_rate and tonumber(redis.call('ZSCORE', key, member) or 0) < 9e15)
      or (not is_rate and r[1] == 'running')
  end
  if is_right or string.find(member, '/', 1, true) then return false end
  return redis.call('ZREM', key, member) == 1
end

local is_done = member == '' or free()
if is_done then lines().wake_blocked(prefix, rest, now_ms()) end
return { 'ok', is_done and 1 or 0 }

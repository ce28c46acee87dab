#!lua flags=allow-oom
-- For an audit: take out of a key what does not belong there, or what is left of a run that is not stored any more. It
-- looks again, because the store moves while it is audited.
--
-- Replies  ok <1 where something was done | 0>

-- @include lib/belongs.lua
-- @include lib/leave_stream.lua
-- @include lib/orphan_kids.lua
-- @include lib/set_next.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local verb   = ARGV[1]   -- word  keep | unlist | forget | leave | schedule
local name   = ARGV[2]   -- str   of the key, without the prefix
local member = ARGV[3]   -- str   what it is about; empty: all of it

local key = prefix .. name
local what, rest = string.match(name, '^(%a+):?(.*)$')
local verbs = {}

-- It has a time to live, and must not.
function verbs.keep() return redis.call('PERSIST', key) == 1 end

-- It names a run, or a schedule, that does not want to be named there.
function verbs.unlist()
  local line = string.match(member, '^line:(.+)$')
  local is_right
  if line then
    is_right = redis.call('EXISTS', prefix .. 'blocked:' .. line) == 1
  elseif what == 'schedules' then
    is_right = redis.call('EXISTS', prefix .. 'schedule:' .. member) == 1
  else
    is_right = belongs(prefix, name, member)
  end
  return not is_right and redis.call('ZREM', key, member) == 1
end

-- It is of a run that is not stored, or of one that does not have it. Children that it left are looked after first.
function verbs.forget()
  if what == 'unique' then
    local run_id = redis.call('GET', key)
    local r = run_id and redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'uq')
    if not r or r[1] and r[2] == rest and not is_terminal(r[1]) then return false end
  elseif what == 'queued' then
    if redis.call('EXISTS', prefix .. 'schedule:' .. rest) == 1 then return false end
    for _, run_id in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if redis.call('HGET', prefix .. 'run:' .. run_id, 's') == 'waiting:overlap' then return false end
    end
  elseif redis.call('EXISTS', prefix .. 'run:' .. rest) == 1 then
    return false
  elseif what == 'kids' then
    orphan_kids(prefix, rest)
    return true
  end
  return redis.call('UNLINK', key) == 1
end

-- An entry that is not its run's, by its lane and id; or one that is pending and is not there.
function verbs.leave()
  local id = string.sub(member, 3)
  local found = redis.call('XRANGE', key, id, id)[1]
  if found then
    local r = redis.pcall('HMGET', prefix .. 'run:' .. found[2][2], 's', 'e')
    if r.err or r[2] == member and (r[1] == 'pending' or r[1] == 'running') then return false end
  end
  leave_stream(prefix, string.match(name, '^q:(.+):.$'), member)
  return true
end

-- When a schedule is looked at next.
function verbs.schedule()
  local r = redis.call('HMGET', key, 'n', 'pz', 'on')
  if not r[1] then return false end
  local listing = prefix .. 'schedules'
  if member == 'turn' then return redis.call('ZADD', listing, 'CH', 0, rest) == 1 end
  local before = redis.call('ZSCORE', listing, rest)
  set_next(prefix, rest, r[2] and '' or r[1])
  return redis.call('ZSCORE', listing, rest) ~= before
end

return { 'ok', verbs[verb]() and 1 or 0 }

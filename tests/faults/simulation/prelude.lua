-- Stands before each script of a simulation: what a command does by the server's own clock, it does by the virtual one.
-- Times of streams, idle times of pending entries and times to live go by the key `sim:clock`; what is published is
-- handed to the simulated network; and the keys that were written, with what they hold now, come with the reply.
local sim_redis, sim_prefix = redis, KEYS[1]
local sim_now = tonumber(sim_redis.call('GET', 'sim:clock'))
local sim_ttl, sim_idle = 'sim:ttl:' .. sim_prefix, 'sim:idle:'
local sim_written, sim_order, sim_said, sim_foreign = {}, {}, {}, {}

-- Looked up as text: to make a table of them would take as long as a short script.
local sim_reads = ' GET HGET HMGET HGETALL HEXISTS HLEN HSTRLEN HKEYS ZRANGE ZREVRANGE ZRANGEBYSCORE ZSCORE ZCARD '
  .. 'ZCOUNT ZRANDMEMBER ZRANK XLEN XRANGE XPENDING XINFO EXISTS TYPE LINDEX LRANGE LLEN LPOS SMEMBERS SISMEMBER STRLEN '
  .. 'PTTL TTL TIME SPUBLISH HSCAN ZSCAN HRANDFIELD ZREVRANGEBYSCORE ZMSCORE SCARD SSCAN '

local function sim_note(key)
  if string.sub(key, 1, #sim_prefix) ~= sim_prefix then sim_foreign[#sim_foreign + 1] = key end
  if not sim_written[key] then
    sim_written[key] = true
    sim_order[#sim_order + 1] = key
  end
end

local function sim_expire()
  local due = sim_redis.call('ZRANGEBYSCORE', sim_ttl, '-inf', string.format('%d', sim_now))
  for _, key in ipairs(due) do
    sim_redis.call('DEL', key)
    sim_redis.call('ZREM', sim_ttl, key)
    sim_note(key)
  end
end

local sim_special = {}

function sim_special.TIME()
  local seconds = math.floor(sim_now / 1000)
  return { string.format('%d', seconds), string.format('%d', (sim_now - seconds * 1000) * 1000) }
end

function sim_special.SPUBLISH(_, channel, message)
  sim_said[#sim_said + 1] = channel
  sim_said[#sim_said + 1] = message
  return 0
end

-- By a clock that may have been set back: ids grow all the same.
function sim_special.XADD(run, ...)
  local words = { ... }
  for place = 2, #words do
    if words[place] == '*' then
      words[place] = string.format('%d-*', sim_now)
      local made = sim_redis.pcall('XADD', unpack(words))
      if type(made) ~= 'table' then return made end
      local info = sim_redis.call('XINFO', 'STREAM', words[1])
      for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then words[place] = string.match(info[at + 1], '^%d+') .. '-*' end
      end
      return run('XADD', unpack(words))
    end
  end
  return run('XADD', ...)
end

function sim_special.XREADGROUP(run, ...)
  local reply = run('XREADGROUP', ...)
  for _, stream in ipairs(type(reply) == 'table' and not reply.err and reply or {}) do
    for _, item in ipairs(stream[2]) do sim_redis.call('HSET', sim_idle .. stream[1], item[1], sim_now) end
  end
  return reply
end

function sim_special.XCLAIM(run, stream, group, consumer, idle, id, ...)
  local reply = run('XCLAIM', stream, group, consumer, idle, id, ...)
  if type(reply) == 'table' and not reply.err and reply[1] then sim_redis.call('HSET', sim_idle .. stream, id, sim_now) end
  return reply
end

function sim_special.XPENDING(run, stream, group, from, ...)
  if not from then return run('XPENDING', stream, group) end
  local reply = run('XPENDING', stream, group, from, ...)
  for _, item in ipairs(reply.err and {} or reply) do
    local since = sim_redis.call('HGET', sim_idle .. stream, item[1])
    item[3] = since and math.max(0, sim_now - tonumber(since)) or 0
  end
  return reply
end

function sim_special.SET(run, key, value, ...)
  local words, kept, ms = { ... }, {}, nil
  local place = 1
  while place <= #words do
    if words[place] == 'PX' then
      ms = tonumber(words[place + 1])
      place = place + 2
    else
      kept[#kept + 1] = words[place]
      place = place + 1
    end
  end
  local reply = run('SET', key, value, unpack(kept))
  if type(reply) == 'table' and reply.ok then
    if ms then sim_redis.call('ZADD', sim_ttl, string.format('%d', sim_now + ms), key)
    else sim_redis.call('ZREM', sim_ttl, key) end
  end
  return reply
end

function sim_special.PEXPIRE(_, key, ms)
  if sim_redis.call('EXISTS', key) == 0 then return 0 end
  sim_redis.call('ZADD', sim_ttl, string.format('%d', sim_now + tonumber(ms)), key)
  return 1
end

function sim_special.PERSIST(_, key) return sim_redis.call('ZREM', sim_ttl, key) end

function sim_special.PTTL(_, key)
  if sim_redis.call('EXISTS', key) == 0 then return -2 end
  local due = sim_redis.call('ZSCORE', sim_ttl, key)
  return due and math.max(0, tonumber(due) - sim_now) or -1
end

function sim_special.RENAME(run, from, to)
  local due = sim_redis.call('ZSCORE', sim_ttl, from)
  local reply = run('RENAME', from, to)
  sim_redis.call('ZREM', sim_ttl, from, to)
  if due then sim_redis.call('ZADD', sim_ttl, due, to) end
  return reply
end

local function sim_do(run, name, ...)
  if not string.find(sim_reads, ' ' .. name .. ' ', 1, true) then
    if name == 'DEL' or name == 'UNLINK' or name == 'RENAME' then
      for _, key in ipairs({ ... }) do sim_note(key) end
    elseif name == 'XREADGROUP' then
      local words = { ... }
      sim_note(words[#words - 1])
    elseif name == 'XGROUP' then
      sim_note((select(2, ...)))
    else
      sim_note((...))
    end
  end
  local special = sim_special[name]
  if special then return special(run, ...) end
  return run(name, ...)
end

local redis = setmetatable({
  call = function(...) return sim_do(sim_redis.call, ...) end,
  pcall = function(...) return sim_do(sim_redis.pcall, ...) end,
}, { __index = sim_redis })

local sim_contents = {
  string = function(key) return sim_redis.call('GET', key) end,
  hash = function(key) return sim_redis.call('HGETALL', key) end,
  list = function(key) return sim_redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return sim_redis.call('SMEMBERS', key) end,
  zset = function(key) return sim_redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  stream = function(key)
    local pending = sim_redis.pcall('XPENDING', key, 'workers', '-', '+', 100000)
    return { sim_redis.call('XRANGE', key, '-', '+'), pending.err and 'no group' or pending, sim_redis.call('HGETALL', sim_idle .. key) }
  end,
}

local function sim_changes()
  local found = {}
  for _, key in ipairs(sim_order) do
    local kind = sim_redis.call('TYPE', key).ok
    if kind == 'none' then sim_redis.call('ZREM', sim_ttl, key) end
    found[#found + 1] = { key, kind, sim_contents[kind] and sim_contents[kind](key) or '', sim_redis.call('ZSCORE', sim_ttl, key) or '' }
  end
  return found
end

sim_expire()
local function sim_main()
--BODY--
end
local sim_fine, sim_reply = pcall(sim_main)
local sim_why = ''
if not sim_fine then sim_why = type(sim_reply) == 'table' and sim_reply.err or tostring(sim_reply) end
return { sim_fine and 1 or 0, sim_why, sim_said, sim_foreign, sim_changes(), sim_fine and sim_reply or false }

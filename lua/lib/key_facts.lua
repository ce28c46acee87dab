-- @include lib/facts.lua

-- Its entries, with the run of each; of those between the last piece and the end of this one, which are pending; and, at
-- the beginning, the group's consumers.
local function stream_facts(key, row, cursor, most)
  local from = cursor == '0' and '-' or '(' .. cursor
  local found = redis.call('XRANGE', key, from, '+', 'COUNT', most)
  local is_last = #found < most
  row[4], row[5], row[7], row[8] = redis.call('XLEN', key), is_last and '0' or found[#found][1], {}, {}
  for _, item in ipairs(found) do row[6][#row[6] + 1], row[6][#row[6] + 2] = item[1], item[2][2] end
  local pending = redis.pcall('XPENDING', key, 'workers', from, is_last and '+' or found[#found][1], 2 * most)
  for _, item in ipairs(pending.err and {} or pending) do row[7][#row[7] + 1] = item[1] end
  local consumers = cursor == '0' and redis.pcall('XINFO', 'CONSUMERS', key, 'workers')
  for _, item in ipairs(consumers and not consumers.err and consumers or {}) do row[8][#row[8] + 1] = item[2] end
end

local sizes = {
  zset = function(key) return redis.call('ZCARD', key) end,
  set = function(key) return redis.call('SCARD', key) end,
  hash = function(key) return redis.call('HLEN', key) end,
  list = function(key) return redis.call('LLEN', key) end,
  string = function(key) return redis.call('STRLEN', key) end
}

-- A piece of a set, sorted or not.
local function scan(kind, key, cursor, most)
  if kind == 'set' then return redis.call('SSCAN', key, cursor, 'COUNT', most) end
  return redis.call('ZSCAN', key, cursor, 'COUNT', most)
end

-- A hash may hold payloads: what is to be known of it depends on whose it is.
local function hash_facts(key, name, row, cursor, most)
  if string.find(name, '^mail:') then
    for _, number in ipairs(redis.call('HKEYS', key)) do row[6][#row[6] + 1], row[6][#row[6] + 2] = number, '' end
  elseif string.find(name, '^schedule:') then
    for _, field in ipairs({ 'n', 'pz', 'on', 'rv', 'c', 'ev', 'lt' }) do
      local value = redis.call('HGET', key, field)
      if value then row[6][#row[6] + 1], row[6][#row[6] + 2] = field, value end
    end
  elseif string.find(name, '^kids:') or name == 'lanes' or name == 'controls' then
    local found = redis.call('HSCAN', key, cursor, 'COUNT', most)
    row[5], row[6] = found[1], found[2]
  end
end

-- A key, and a piece of what is in it. Nothing where it is not there.
local function key_facts(prefix, name, cursor, most)
  local key = prefix .. name
  local kind = kind_of(key)
  if kind == 'none' then return nil end
  if name == 'outbox' and kind == 'stream' then return outbox_facts(prefix, cursor) end
  local row = { kind, name, redis.call('PTTL', key), 0, '0', {} }
  if kind == 'stream' then
    -- What a run says to the outside is a stream, too, and has payloads.
    if string.find(name, '^q:') then stream_facts(key, row, cursor, most) end
    return row
  end
  row[4] = sizes[kind](key)
  if kind == 'hash' then
    hash_facts(key, name, row, cursor, most)
  elseif kind == 'zset' or kind == 'set' then
    local found = scan(kind, key, cursor, most)
    row[5], row[6] = found[1], found[2]
  elseif kind == 'list' and string.find(name, '^queued:') then
    row[6] = redis.call('LRANGE', key, cursor, cursor + most - 1)
    if #row[6] == most then row[5] = string.format('%d', cursor + most) end
  elseif kind == 'string' and string.find(name, '^unique:') then
    row[6] = { redis.call('GET', key) }
  end
  return row
end

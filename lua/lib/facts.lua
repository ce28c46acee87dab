-- Rows for an audit: { kind, name, ms until it expires (-1: never), size, where to go on ('0': all was read), content ... }.
-- What they mean is said in redisflow/structure/snapshot.py. Nothing here writes, and no payload is copied.
local function kind_of(key)
  local reply = redis.call('TYPE', key)
  return type(reply) == 'table' and reply.ok or reply
end

local watched = {
  's', 'e', 'f', 'h', 'w', 'q', 'c', 'a', 't', 'd', 'dl', 'xp', 'uq', 'tg', 'pr', 'lk', 'pm', 'fp', 'ls', 'cp', 'vd', 'm',
  'pa', 'sg', 'sc', 'pz', 'ca', 'ct', 'rt', 'p'
}

-- Enough to say whether something may name it.
local few = { 's', 'e', 'w', 'q', 'c', 'a', 'uq', 'tg', 'lk', 'fp', 'ls', 'sg' }

-- The lengths of its input and records: all of them where there are no more than `most`, else so many from `first` on.
local function lengths_of(key, mark, first, most)
  local count = tonumber(string.match(mark or '', '^(%d+):')) or 0
  local lengths = { 'i', redis.call('HSTRLEN', key, 'i') }
  local names = {}
  if count > most then
    for number = first, math.min(first + most, count) - 1 do names[#names + 1] = string.format('%d', number) end
  else
    names = redis.call('HKEYS', key)
  end
  for _, name in ipairs(names) do
    if string.find(name, '^%d+$') and (count <= most or redis.call('HEXISTS', key, name) == 1) then
      lengths[#lengths + 1], lengths[#lengths + 2] = name, redis.call('HSTRLEN', key, name)
    end
  end
  return lengths, count > most and string.format('%d', first + most) or '0'
end

-- `most` 0: some of its fields, and no lengths. Nothing where it is not stored.
local function run_facts(prefix, run_id, first, most)
  local key = prefix .. 'run:' .. run_id
  local kind = kind_of(key)
  if kind == 'none' then return nil end
  local row = { 'run', run_id, redis.call('PTTL', key), kind, '0', {}, {} }
  if kind ~= 'hash' then return row end
  local names = most > 0 and watched or few
  local values = redis.call('HMGET', key, unpack(names))
  for place, name in ipairs(names) do
    if values[place] then
      row[6][#row[6] + 1], row[6][#row[6] + 2] = name, name == 'p' and '' or values[place]
    end
  end
  if most > 0 then row[7], row[5] = lengths_of(key, values[4], first, most) end
  return row
end

-- Of an entry of the outbox: what is to be done, the run and the child that it is about, the partition that it is for, and
-- which fields it has.
local function posts_of(key, cursor, most)
  local posts, found = {}, redis.call('XRANGE', key, cursor == '0' and '-' or '(' .. cursor, '+', 'COUNT', most)
  for _, item in ipairs(found) do
    local post, names = {}, {}
    for at = 1, #item[2], 2 do
      post[item[2][at]] = item[2][at + 1]
      names[#names + 1] = item[2][at]
    end
    local parts = { post['do'] or '', post.run or '', post.child or '', post.to or '', table.concat(names, ' ') }
    for _, part in ipairs(parts) do posts[#posts + 1] = part end
  end
  return posts, #found == most and found[#found][1] or '0'
end

local outbox_step = 50 -- the end of a child has up to 1 MiB

local function outbox_facts(prefix, cursor)
  local key = prefix .. 'outbox'
  local posts, onward = posts_of(key, cursor, outbox_step)
  return { 'outbox', 'outbox', redis.call('PTTL', key), redis.call('XLEN', key), onward, posts }
end

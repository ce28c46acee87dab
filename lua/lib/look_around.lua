-- @include lib/companions.lua
-- @include lib/stream_of.lua

-- Rows of other keys (see facts.lua), by name, with no more of each than what is there of the runs that are looked at.
local function row_of(rows, kind, name)
  if not rows[name] then rows[name] = { kind, name, -1, 0, '0', {}, {}, {} } end
  return rows[name][6], rows[name][7]
end

local function add(list, ...)
  for _, part in ipairs({ ... }) do list[#list + 1] = part end
end

local function look_for_entry(prefix, rows, run)
  if not run.e then return end
  local stream, id = stream_of(prefix, run.q, run.e), string.sub(run.e, 3)
  local found = redis.pcall('XRANGE', stream, id, id)
  if found.err or not found[1] then return end
  local entries, pending = row_of(rows, 'stream', string.sub(stream, #prefix + 1))
  add(entries, id, found[1][2][2])
  local held = redis.pcall('XPENDING', stream, 'workers', id, id, 1)
  if not held.err and held[1] then add(pending, id) end
end

local function look_for_slots(prefix, rows, run_id, run)
  local home = string.match(prefix, '(%d+)}:$')
  for hash, bounds, at in string.gmatch(run.lk or '', '(%x+):(%d+:%d+)@?(%d*)') do
    if at == '' then
      add_member(prefix, rows, 'limit:' .. hash, run_id)
    elseif at == home then
      local round = string.match(run.pm or '', '^%d+') or '0'
      add_member(prefix, rows, 'limit:' .. hash, string.format('%s/%s:%s', run_id, round, bounds))
    end
  end
  if run.fp then add_member(prefix, rows, 'fair:' .. run.fp, run_id) end
  if run.ls then add_member(prefix, rows, 'blocked:' .. run.ls, run_id) end
end

local function look_for_family(prefix, rows, run_id, run)
  local numbers = redis.call('HKEYS', prefix .. 'mail:' .. run_id)
  if numbers[1] then
    local mail = row_of(rows, 'hash', 'mail:' .. run_id)
    for _, number in ipairs(numbers) do add(mail, number, '') end
  end
  local kids = redis.call('EXISTS', prefix .. 'kids:' .. run_id) == 1
  if kids then row_of(rows, 'hash', 'kids:' .. run_id) end
  local is_child = run.pa and redis.call('HEXISTS', prefix .. 'kids:' .. run.pa, run_id) == 1
  if is_child then
    add(row_of(rows, 'hash', 'kids:' .. run.pa), run_id, '')
    add_run(prefix, rows, run.pa)
  end
  if kids or is_child then rows.outbox = rows.outbox or outbox_facts(prefix, '0') end
end

local function look_for_listings(prefix, rows, run_id, run)
  for _, status in ipairs({ 'succeeded', 'failed', 'canceled' }) do
    if run.s == status then add_member(prefix, rows, 'done:' .. run.w .. ':' .. status, run_id) end
  end
  for _, listing in ipairs({ 'runs:', 'stuck:', 'held:' }) do add_member(prefix, rows, listing .. run.w, run_id) end
  for hash in string.gmatch(string.match(run.tg or '', '^[^\n]*'), '%x+') do
    add_member(prefix, rows, 'tag:' .. hash, run_id)
  end
  add_member(prefix, rows, 'delayed', run_id)
  if redis.call('SISMEMBER', prefix .. 'workflows', run.w) == 1 then add(row_of(rows, 'set', 'workflows'), run.w) end
  if run.q and redis.call('SISMEMBER', prefix .. 'queues', run.q) == 1 then add(row_of(rows, 'set', 'queues'), run.q) end
end

-- Wherever this run has to stand: what is there of it.
local function look_around(prefix, rows, run_id, run)
  look_for_listings(prefix, rows, run_id, run)
  look_for_entry(prefix, rows, run)
  look_for_slots(prefix, rows, run_id, run)
  look_for_family(prefix, rows, run_id, run)
  local lane = run.e and redis.call('HGET', prefix .. 'lanes', run.q or 'default')
  if lane then add(row_of(rows, 'hash', 'lanes'), run.q or 'default', lane) end
  if run.s == 'waiting:held' then
    local control = redis.call('HGET', prefix .. 'controls', 'w:' .. run.w)
    if control then add(row_of(rows, 'hash', 'controls'), 'w:' .. run.w, control) end
  elseif run.s == 'waiting:overlap' and run.sc then
    for _ in ipairs(redis.call('LPOS', prefix .. 'queued:' .. run.sc, run_id, 'COUNT', 0)) do
      add(row_of(rows, 'list', 'queued:' .. run.sc), run_id)
    end
  end
  for hash in string.gmatch(run.sg or '', '%S+') do add_member(prefix, rows, 'signal:' .. hash, run_id) end
  local holder = run.uq and redis.call('GET', prefix .. 'unique:' .. run.uq)
  if holder then add(row_of(rows, 'string', 'unique:' .. run.uq), holder) end
end

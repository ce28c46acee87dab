-- @include lib/key_facts.lua

-- A key of which only this one member is looked at (or none), and how many there are; once in a reply.
local function add_member(prefix, rows, name, member)
  local key, row = prefix .. name, rows[name]
  if not row then
    row = { 'zset', name, -1, redis.call('ZCARD', key), '0', {} }
    rows[name] = row
  end
  local score = member and redis.call('ZSCORE', key, member)
  if score then row[6][#row[6] + 1], row[6][#row[6] + 2] = member, score end
end

local function add_run(prefix, rows, run_id)
  local name = 'run:' .. run_id
  if rows[name] == nil then rows[name] = run_facts(prefix, run_id, 0, 0) end
end

-- What else says whether this piece of a key is as it should be.
local function add_companions(prefix, row, rows)
  local kind, name, content = row[1], row[2], row[6]
  local what, rest = string.match(name, '^(%a+):?(.*)$')
  if what == 'events' or what == 'state' or what == 'fx' or what == 'mail' or what == 'kids' then
    add_run(prefix, rows, rest)
    if what == 'kids' then rows.outbox = rows.outbox or outbox_facts(prefix, '0') end
  elseif what == 'unique' then
    for _, run_id in ipairs(content) do add_run(prefix, rows, run_id) end
  elseif what == 'schedule' and kind == 'hash' then
    add_member(prefix, rows, 'schedules', rest)
  elseif what == 'queued' then
    for _, run_id in ipairs(content) do add_run(prefix, rows, run_id) end
    rows['schedule:' .. rest] = key_facts(prefix, 'schedule:' .. rest, '0', 1)
    add_member(prefix, rows, 'schedules', rest)
    local on = redis.call('HGET', prefix .. 'schedule:' .. rest, 'on')
    if on then add_run(prefix, rows, on) end
  elseif what == 'q' and kind == 'stream' then
    for at = 2, #content, 2 do add_run(prefix, rows, content[at]) end
    for _, consumer in ipairs(row[8] or {}) do add_member(prefix, rows, 'workers', consumer) end
  elseif what == 'schedules' then
    for at = 1, #content, 2 do
      rows['schedule:' .. content[at]] = key_facts(prefix, 'schedule:' .. content[at], '0', 1)
    end
  elseif kind == 'zset' and what ~= 'workers' then
    if what == 'limit' then
      -- That of a rate is known by a slot that was given and not used yet, which is last.
      local last = redis.call('ZRANGE', prefix .. name, -1, -1, 'WITHSCORES')
      content[#content + 1], content[#content + 2] = last[1], last[2]
    elseif what == 'blocked' then
      -- Whoever is next says whether there is room.
      local first = redis.call('ZRANGE', prefix .. name, 0, 0, 'WITHSCORES')
      content[#content + 1], content[#content + 2] = first[1], first[2]
      add_member(prefix, rows, 'limit:' .. rest)
      add_member(prefix, rows, 'fair:' .. rest)
      add_member(prefix, rows, 'delayed', 'line:' .. rest)
    end
    for at = 1, #content, 2 do
      local line = what == 'delayed' and string.match(content[at], '^line:(.+)$')
      if line then
        add_member(prefix, rows, 'blocked:' .. line)
      elseif not string.find(content[at], '/', 1, true) then
        -- What a run used of a rate before it began anew stands behind its id.
        add_run(prefix, rows, string.match(content[at], '^[^~]*'))
      end
    end
  end
end

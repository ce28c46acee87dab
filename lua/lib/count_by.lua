-- @include lib/collect.lua
-- @include lib/slice.lua

-- How many of the unfinished runs of a workflow have which value of a field (empty: none), a bounded step at a time.
local function count_by(prefix, workflow, at_ms, at_id, limit, field)
  local members = slice(prefix .. 'runs:' .. workflow, false, at_ms, at_id, limit)
  local found = {}
  for at = 1, #members, 2 do
    local r = redis.pcall('HMGET', prefix .. 'run:' .. members[at], 's', field)
    if r[1] then collect(found, r[2] or '', members[at]) end
  end
  local reply = { 'ok', members[#members - 1] or '', members[#members] or '' }
  for value, runs in pairs(found) do
    reply[#reply + 1], reply[#reply + 2] = value, #runs
  end
  return reply
end

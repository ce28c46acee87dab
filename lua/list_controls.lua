#!lua flags=no-writes
-- What is paused, or let go slowly, and how far that has come.
--
-- Replies  ok { <control> <word> <runs that wait> <field> <value> ... } ...

-- @include lib/read_controls.lua

local prefix = KEYS[1]   -- str   of every key in the partition

local function waiting_in(stream)
  local pending = redis.pcall('XPENDING', stream, 'workers')
  return redis.call('XLEN', stream) - (pending.err and 0 or pending[1])
end

local reply = { 'ok' }
for control, state in pairs(read_controls(prefix) or {}) do
  local kind, name = string.match(control, '^(.):(.*)$')
  local waiting
  if kind == 'w' then
    waiting = redis.call('ZCARD', prefix .. 'held:' .. name)
  else
    waiting = 0
    for lane in string.gmatch('w0' .. (redis.call('HGET', prefix .. 'lanes', name) or ''), '.') do
      waiting = waiting + waiting_in(prefix .. 'q:' .. name .. ':' .. lane)
    end
  end
  local row = { control, string.match(state, '^%a+'), waiting }
  local fields = redis.call('HMGET', prefix .. 'control:' .. control, 'since', 'rate', 'released', 'ok', 'bad', 'stopped',
    'ratio', 'least')
  for _, value in ipairs(fields) do row[#row + 1] = value or '' end
  reply[#reply + 1] = row
end
return reply

#!lua flags=allow-oom
-- What the timer watcher does for paused queues and workflows: let held runs back, at the pace of their release, and
-- tell where failures return: whether there are too many, all partitions together say. A release ends when for 3 s there
-- was less to let go than it allowed.
--
-- Moves    waiting:held -> pending
-- Replies  ok <let go> <next_in_ms | -1> <control> <release> ..., of each release that is failing here

-- @include lib/clock.lua
-- @include lib/allowance.lua
-- @include lib/is_failing.lua
-- @include lib/let_go.lua
-- @include lib/read_controls.lua
-- @include lib/release_id.lua
-- @include lib/ring.lua

local prefix = KEYS[1]   -- str   of every key in the partition
local limit  = ARGV[1]   -- int   runs at most

local controls = read_controls(prefix)
if not controls then return { 'ok', 0, -1 } end
local now, room = now_ms(), tonumber(limit)
local reply = { 'ok', 0, -1 }

local function remove(control)
  redis.call('HDEL', prefix .. 'controls', control)
  redis.call('UNLINK', prefix .. 'control:' .. control)
end

local function is_over(control_key)
  local idle = redis.call('HGET', control_key, 'idle')
  return idle and now - tonumber(idle) >= 3000
end

local function resume(control, name)
  room = room - let_go(prefix, name, room)
  if redis.call('EXISTS', prefix .. 'held:' .. name) == 0 then remove(control) end
end

local function release(control, kind, name, id)
  local control_key = prefix .. 'control:' .. control
  if is_failing(prefix, control, control_key) then reply[#reply + 1], reply[#reply + 2] = control, id end
  local allowed, at, rate = allowance(control_key, now)
  if kind == 'q' then
    if allowed > 0 then ring(prefix, name) end
  else
    local count = let_go(prefix, name, math.min(allowed, room), id)
    room = room - count
    spend(control_key, count, at, rate)
    local is_empty = redis.call('EXISTS', prefix .. 'held:' .. name) == 0
    if allowed > 0 then note_idle(control_key, count < allowed and is_empty, now) end
  end
  if is_over(control_key) then return remove(control) end
  local next_in = math.max(50, math.min(200, math.ceil(1e6 / rate)))
  if reply[3] < 0 or next_in < reply[3] then reply[3] = next_in end
end

for control, state in pairs(controls) do
  local kind, name = string.match(control, '^(.):(.*)$')
  local id = release_id(state)
  local fine = true
  if state == 'resuming' then
    fine = pcall(resume, control, name)
  elseif id then
    fine = pcall(release, control, kind, name, id)
  end
  -- What cannot be carried on is a pause, for a person to look at; the watcher has timers to serve besides.
  if not fine then redis.call('HSET', prefix .. 'controls', control, 'paused') end
end
reply[2] = tonumber(limit) - room
if room <= 0 then reply[3] = 0 end
return reply

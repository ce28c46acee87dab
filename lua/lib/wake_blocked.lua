-- @include lib/leave_line.lua
-- @include lib/line_timers.lua
-- @include lib/next_blocked.lua

-- Wherever a limit may have room: let go on who waits for it, for as long as it has. A bounded number of steps: where
-- they are not enough, a timer brings the next ones.
local function wake_blocked(prefix, first, now)
  local todo, steps = { first }, 0
  while todo[1] do
    local hash = todo[#todo]
    local run_id = next_blocked(prefix, hash, now)
    local r = run_id and redis.call('HMGET', prefix .. 'run:' .. run_id, 's', 'ls', 'lk', 'fp', 'q', 'pr', 'a', 'd', 'dl', 'c', 'xp')
    steps = steps + 1
    if not run_id then
      todo[#todo] = nil
    elseif r[1] ~= 'waiting:limited' or r[2] ~= hash then
      redis.call('ZREM', prefix .. 'blocked:' .. hash, run_id)
    else
      local run = {
        limits = r[3], is_fair = r[4] == hash, queue = r[5] or nil, priority = r[6] or nil, has_begun = r[7],
        due = r[8] or nil, deadline = r[9] and tonumber(r[9]) or nil, created = r[10],
        expires = r[11] and not r[7] and tonumber(r[11]) or nil
      }
      local room, free_at = may_leave(prefix, hash, run, now)
      if room and steps <= 30 then
        todo[#todo + 1] = leave_line(prefix, hash, run_id, run, now) or nil
      else
        if room then free_at = now end
        if free_at then time_blocked(prefix, run_id, run.due, free_at) end
        todo[#todo] = nil
      end
    end
  end
end

-- The timer of a run that waits for a limit is that of the whole line: it goes on to whoever is first then.
local function look_at_line(prefix, run_id, run, now)
  restore_timer(prefix, run_id, run)
  wake_blocked(prefix, run.blocked_on, now)
end

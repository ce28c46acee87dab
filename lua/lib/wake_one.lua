-- @include lib/end_by_verdict.lua
-- @include lib/end_if_expired.lua
-- @include lib/is_terminal.lua
-- @include lib/lines.lua
-- @include lib/load_run.lua
-- @include lib/waits_for_word.lua
-- @include lib/wake_run.lua

-- The hash says when a run is due; its member of `delayed` only says when to look.
local function wake_one(prefix, run_id, now)
  local line = string.match(run_id, '^line:(.+)$')
  if line then
    redis.call('ZREM', prefix .. 'delayed', run_id)
    return lines().wake_blocked(prefix, line, now)
  end
  local run = load_run(prefix, run_id)
  if run and not is_terminal(run.status) and end_if_expired(prefix, run_id, run, now) then return end
  if not run or is_terminal(run.status) then
    redis.call('ZREM', prefix .. 'delayed', run_id)
  elseif run.deadline and run.deadline <= now then
    end_by_verdict(prefix, run_id, 'failed', 'deadline', now, run)
  elseif run.due and run.due > now then
    redis.call('ZADD', prefix .. 'delayed', run.due, run_id)
  elseif string.sub(run.status, 1, 7) == 'waiting' and not waits_for_word(run.status)
    and (run.due or run.status ~= 'waiting:suspended') then
    wake_run(prefix, run_id, run)
  else
    redis.call('ZREM', prefix .. 'delayed', run_id)
  end
end

-- @include lib/add_mail.lua
-- @include lib/is_terminal.lua
-- @include lib/load_run.lua
-- @include lib/set_due.lua
-- @include lib/tell_holder.lua
-- @include lib/wake_run.lua

-- Whether a waiting run is to be woken by this mail: it parked with the names of what it waits for, each between line
-- breaks. A run that waits for something else (code, its start, a person) finds its mail when it goes on.
local function wants_mail(status, wants, name)
  local reason = string.match(status, '^waiting:(.*)$')
  if reason ~= 'timer' and reason ~= 'retry' and reason ~= 'signal' and reason ~= 'child' then return false end
  return wants and string.find(wants, '\n' .. name .. '\n', 1, true) ~= nil
end

-- A parent of thousands is not woken by each end: reading its record again takes about 0.1 ms for ten of its records.
local function patience_ms(key, name)
  if name ~= 'c' then return 0 end
  local records = tonumber(string.match(redis.call('HGET', key, 'h'), '^%d+'))
  return records > 200 and math.min(1000, math.floor(records / 10)) or 0
end

-- Put an item into a run's mailbox, and see to it that whoever has the run, or is to have it, looks there. `most` bounds
-- the mailbox, where it is given.
local function put_mail(prefix, run_id, name, item, now, most)
  local run = load_run(prefix, run_id)
  if not run then return 'missing' end
  if is_terminal(run.status) then return 'ended' end
  if most and redis.call('HLEN', prefix .. 'mail:' .. run_id) >= most then return 'full' end
  local key = prefix .. 'run:' .. run_id
  -- Woken first: a run that is woken for nothing waits again, and one that has mail must not sleep on.
  if wants_mail(run.status, redis.call('HGET', key, 'wn'), name) then
    local wait_ms = patience_ms(key, name)
    if wait_ms == 0 then
      wake_run(prefix, run_id, run)
    elseif not run.due or run.due > now + wait_ms then
      redis.call('HSET', key, 'd', now + wait_ms)
      set_due(prefix, run_id, now + wait_ms)
    end
  end
  add_mail(prefix, run_id, item)
  if run.status == 'running' then tell_holder(prefix, run.queue, run.entry, run_id, ' mail') end
  return 'ok'
end

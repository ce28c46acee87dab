-- @include lib/end_by_verdict.lua
-- @include lib/is_terminal.lua
-- @include lib/load_run.lua
-- @include lib/rules.lua

-- unique <hash> <existing | reject | cancel_older>: one run of the key that has not ended. The key is a hint: the run
-- that it names counts where its hash says so, too.
rules.unique = function(prefix, new, place, now)
  local hash, on_conflict = ARGV[place], ARGV[place + 1]
  local key = prefix .. 'unique:' .. hash
  local older_id = redis.call('GET', key)
  local older = older_id and load_run(prefix, older_id)
  local is_active = older and older.unique == hash and not is_terminal(older.status)
  if is_active and on_conflict ~= 'cancel_older' then
    return 2, { on_conflict == 'existing' and 'existing' or 'active', older_id }
  end
  return 2, nil, function()
    if is_active then end_by_verdict(prefix, older_id, 'canceled', 'replaced', now, older) end
    redis.call('SET', key, new.run_id)
  end
end

-- @include lib/list_tags.lua
-- @include lib/orphan_kids.lua

-- Every key of a run, and every place that names it and outlives it, but for its listing of finished runs, which its
-- caller leaves. Whoever adds a key per run, or a place that names runs, adds it here: the leak fixture of the tests
-- (tests/leaks.py) finds what is missing.
-- Its idempotency key stays until its own time is over: another start with it must not run twice. Children that it left
-- behind, and that nobody has looked after yet, stay until that is done: whoever does it deletes their key.
-- For five minutes it is known that it was started: a copy of that call may come late. Its client asks for 10 s, a system
-- goes on sending for a connection that was closed for some 100 s, and a parent is replayed a lease and a round of upkeep
-- (45 s) after its worker has died.
local function forget_run(prefix, run_id, tags, signals, age_ms)
  local late_ms = 300000
  if age_ms < late_ms then
    redis.call('SET', prefix .. 'idem:' .. run_id, 'deleted', 'PX', math.min(late_ms, late_ms - age_ms))
  end
  orphan_kids(prefix, run_id)
  redis.call('UNLINK', prefix .. 'run:' .. run_id, prefix .. 'mail:' .. run_id, prefix .. 'events:' .. run_id,
    prefix .. 'state:' .. run_id, prefix .. 'fx:' .. run_id)
  -- What it holds is gone by now, whatever is wrong with the places that name it.
  if tags then unlist_tags(prefix, tags, run_id) end
  for hash in string.gmatch(signals or '', '%S+') do redis.pcall('ZREM', prefix .. 'signal:' .. hash, run_id) end
end

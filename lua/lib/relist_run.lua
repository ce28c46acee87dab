-- @include lib/give_kept.lua
-- @include lib/is_terminal.lua
-- @include lib/list_tags.lua
-- @include lib/look_for_kids.lua
-- @include lib/orphan_kids.lua
-- @include lib/signal_number.lua

-- What upkeep does not look at, because it finds runs by it: the listings that name a run, and the names of workflows.
-- `note` is told of each kind that was lost.
local function relist_run(prefix, run_id, run, now, note)
  local r = redis.call('HMGET', prefix .. 'run:' .. run_id, 'tg', 'sg', 'd')
  local function put(listing, score)
    local found = redis.call('ZSCORE', listing, run_id)
    if found and tonumber(found) == tonumber(score) then return false end
    redis.call('ZADD', listing, score, run_id)
    return true
  end
  note('workflow', redis.call('SADD', prefix .. 'workflows', run.workflow) == 1)
  local tags_lost = false
  for _, listing in ipairs(tag_listings(prefix, r[1] or '')) do tags_lost = put(listing, run.created) or tags_lost end
  note('tags', tags_lost)
  if is_terminal(run.status) then return end
  note('listing', put(prefix .. 'runs:' .. run.workflow, run.created))
  note('timer', not r[3] and redis.call('ZREM', prefix .. 'delayed', run_id) == 1)
  local signals_lost = false
  for hash in string.gmatch(r[2] or '', '%S+') do
    if not redis.call('ZSCORE', prefix .. 'signal:' .. hash, run_id) then
      redis.call('ZADD', prefix .. 'signal:' .. hash, signal_number(prefix), run_id)
      give_kept(prefix, run_id, hash, now)
      signals_lost = true
    end
  end
  note('signals', signals_lost)
end

-- Of a run that has ended: what it left behind is looked after, and its parent looks for what it has missed. Both may be
-- said twice.
local function tell_family(prefix, run_id, run, note)
  if not is_terminal(run.status) then return end
  if redis.call('EXISTS', prefix .. 'kids:' .. run_id) == 1 then
    orphan_kids(prefix, run_id)
    note('children', true)
  end
  if run.parent and redis.call('HEXISTS', prefix .. 'kids:' .. run.parent, run_id) == 1 then
    look_for_kids(prefix, run.parent)
    note('parent', true)
  end
end

-- @include lib/end_by_verdict.lua

-- A run that nobody has taken up by its start-by time is canceled then, unless its deadline came first. Returns
-- whether it was.
local function end_if_expired(prefix, run_id, run, now)
  local expires = run.expires
  if not expires or expires > now or (run.deadline and run.deadline < expires) then return false end
  end_by_verdict(prefix, run_id, 'canceled', 'expired', now, run)
  return true
end

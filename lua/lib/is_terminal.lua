-- A terminal status is final: nothing moves a run out of it.
local function is_terminal(status)
  return status == 'succeeded' or status == 'failed' or status == 'canceled'
end

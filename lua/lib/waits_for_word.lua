-- Waiting for a person, for another run to end, or for a limit: its due time is that of its deadline (or start-by time),
-- and wakes nothing.
local function waits_for_word(status)
  return status == 'waiting:paused' or status == 'waiting:held'
    or status == 'waiting:overlap' or status == 'waiting:limited'
end

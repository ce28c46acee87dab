-- @include lib/effects.lua

-- unwait <hash>: the run does not wait for signals of this name any more.
effects.unwait = function(...)
-- @include lib/leave_signal.lua
  local prefix, run_id, at = ...
  leave_signal(prefix, run_id, ARGV[at])
  return 1
end

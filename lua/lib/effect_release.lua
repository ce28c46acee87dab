-- @include lib/effects.lua
-- @include lib/release_unique.lua

-- release <hash>: the run ends, and leaves its unique key.
effects.release = function(prefix, run_id, at)
  release_unique(prefix, ARGV[at], run_id)
  return 1
end

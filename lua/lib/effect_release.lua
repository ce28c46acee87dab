-- @include lib/effects.lua
-- @include lib/release_unique.lua

-- release <hash>: the run ends, and leaves its unique key.
effects.release = function(prefix, run_id, at)
  local hash = ARGV[at]
  redis.call('GET', prefix .. 'unique:' .. hash)
  return 1, function() release_unique(prefix, hash, run_id) end
end

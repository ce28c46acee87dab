-- The unique key of a run that ends is free, unless a newer run has it already.
local function release_unique(prefix, hash, run_id)
  local key = prefix .. 'unique:' .. hash
  if redis.call('GET', key) == run_id then redis.call('DEL', key) end
end

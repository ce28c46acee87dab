-- The run that holds an idempotency key, and whether it was created with the same input; nil where the key is free.
local function known_by_key(prefix, idem, fingerprint)
  local known = redis.call('GET', prefix .. 'idem:' .. idem)
  if not known then return nil end
  local first, print_of_first = string.match(known, '^(%S+) (.*)$')
  return { print_of_first == fingerprint and 'existing' or 'conflict', first }
end

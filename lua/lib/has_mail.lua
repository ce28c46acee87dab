-- Whether mail has come since the holder looked; it says nothing where it waits for none.
local function has_mail(run_key, seen)
  return seen ~= '' and tonumber(redis.call('HGET', run_key, 'm') or '0') > tonumber(seen)
end

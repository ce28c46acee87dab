-- Whether a child run, whose row begins at `at` in ARGV, was canceled before its order came here. Nobody waits for it,
-- and whoever ordered it need not know.
local function is_prevented(prefix, at)
  if ARGV[at + 10] == '0' then return false end
  for place = at + 11, at + 10 + ARGV[at + 10], 2 do
    if ARGV[place] == 'pa' then return redis.call('EXISTS', prefix .. 'idem:' .. ARGV[at]) == 1 end
  end
  return false
end

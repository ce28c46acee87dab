-- @include lib/add_mail.lua
-- @include lib/read_kept.lua

-- Give a run that starts to wait what is kept for it, but for what it was given before: those numbers are in its field
-- `g<hash>`, as long as they are kept.
local function give_kept(prefix, run_id, hash, now)
  local numbers, items = read_kept(prefix, hash, now)
  if #numbers == 0 then return end
  local key, field = prefix .. 'run:' .. run_id, 'g' .. hash
  local given = ' ' .. (redis.call('HGET', key, field) or '') .. ' '
  for _, number in ipairs(numbers) do
    if not string.find(given, ' ' .. number .. ' ', 1, true) then add_mail(prefix, run_id, items[number]) end
  end
  redis.call('HSET', key, field, table.concat(numbers, ' '))
end

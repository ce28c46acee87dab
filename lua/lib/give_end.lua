-- @include lib/put_mail.lua

-- A child's end becomes mail for its parent, once: the parent's `kids` hold those whose end it has not been told.
local function give_end(prefix, parent, child, item, now)
  local kids = prefix .. 'kids:' .. parent
  if redis.call('HEXISTS', kids, child) == 0 then return false end
  put_mail(prefix, parent, 'c', item, now)
  redis.call('HDEL', kids, child)
  return true
end

-- Put an item into a mailbox. The number in `m` only grows, so that a holder can say how far it has looked.
local function add_mail(prefix, run_id, item)
  redis.call('HSET', prefix .. 'mail:' .. run_id, redis.call('HINCRBY', prefix .. 'run:' .. run_id, 'm', 1), item)
end

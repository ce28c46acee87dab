#!lua flags=allow-oom
-- How long finished runs of workflows are kept, as the worker that started last says.
--
-- Replies  ok

local prefix   = KEYS[1]   -- str   of every key in the partition (number 0)
local policies = 1         -- tail  workflow, policy; an empty one: the defaults

for place = policies, #ARGV, 2 do
  local field = 'keep:' .. ARGV[place]
  if ARGV[place + 1] == '' then
    redis.call('HDEL', prefix .. 'meta', field)
  else
    redis.call('HSET', prefix .. 'meta', field, ARGV[place + 1])
  end
end
return { 'ok' }

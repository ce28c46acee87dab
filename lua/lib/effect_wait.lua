-- @include lib/add_mail.lua
-- @include lib/effects.lua

-- wait <hash>: from now on the run waits for signals of this name, so broadcasts reach it, and what is kept does too.
effects.wait = function(...)
-- Included in here: most steps have no such effect, and need not make the functions for it.
-- @include lib/give_kept.lua
-- @include lib/signal_number.lua
-- @include lib/waits_for.lua
  local prefix, run_id, at, now = ...
  local key, hash = prefix .. 'run:' .. run_id, ARGV[at]
  local names = redis.call('HGET', key, 'sg')
  if not waits_for(names, hash) then
    redis.call('ZADD', prefix .. 'signal:' .. hash, signal_number(prefix), run_id)
    give_kept(prefix, run_id, hash, now)
    redis.call('HSET', key, 'sg', names and names .. ' ' .. hash or hash) -- last: by this a repeat is known
  end
  return 1
end

-- @include lib/append_events.lua
-- @include lib/effects.lua

-- output <mark> <keep> <n> { kind data step attempt } ... <n> { key value } ...: what the workflow's code has said up to
-- the place `mark` of its events and its state; `n` counts the arguments that follow. All of it is stored, or none: the
-- run remembers the mark, so a commit without records, which would apply again, changes nothing.
effects.output = function(prefix, run_id, at)
  local run_key = prefix .. 'run:' .. run_id
  local mark, changes = ARGV[at], at + 3 + ARGV[at + 2]
  local last = changes + ARGV[changes]
  if redis.call('HGET', run_key, 'ev') ~= mark then
    -- Events last: where they cannot be written, the state is set again, and they are not there twice.
    if last > changes then redis.call('HSET', prefix .. 'state:' .. run_id, unpack(ARGV, changes + 1, last)) end
    append_events(prefix, run_id, ARGV[at + 1], at + 3, changes - 1)
    redis.call('HSET', run_key, 'ev', mark)
  end
  return last - at + 1
end

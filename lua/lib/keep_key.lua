-- Let the idempotency key of the row at `at` name this run, with the fingerprint of the row's input.
local function keep_key(prefix, at, run_id)
  redis.call('SET', prefix .. 'idem:' .. ARGV[at + 7], run_id .. ' ' .. ARGV[at + 9], 'PX', ARGV[at + 8])
end

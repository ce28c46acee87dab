-- Append to a run's own stream what stands in ARGV from `first` to `last` (kind, data, step and attempt of each event;
-- no step where the workflow's code said it), and tell whoever listens. About the last `keep` are kept.
local function append_events(prefix, run_id, keep, first, last)
  if last < first then return end
  local stream = prefix .. 'events:' .. run_id
  for at = first, last, 4 do
    local fields = { 'k', ARGV[at], 'd', ARGV[at + 1] }
    if ARGV[at + 2] ~= '' then fields[5], fields[6], fields[7], fields[8] = 's', ARGV[at + 2], 'a', ARGV[at + 3] end
    redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', unpack(fields))
  end
  redis.call('SPUBLISH', stream, '')
end

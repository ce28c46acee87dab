-- @include lib/enter_stream.lua
-- @include lib/is_large.lua
-- @include lib/list_queue.lua
-- @include lib/on_terms.lua

-- Write a new run, whose row begins at `at` in ARGV: its entry, and last its hash. It begins when the row says, unless
-- `starts_at_ms` does; where it is to wait for something else than a time, `reason` says for what. Returns when it
-- begins, nil for now.
local function store_run(prefix, at, now, stamp, starts_at_ms, reason)
  local has_terms = starts_at_ms or reason or ARGV[at + 10] ~= '0'
    or ARGV[at + 5] ~= '' or ARGV[at + 6] ~= '' or ARGV[at + 7] ~= ''
  if has_terms then return on_terms().store(prefix, at, now, stamp, starts_at_ms, reason) end
  local run_id, version, queue, input = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local line = queue ~= '' and queue or nil
  if line then list_queue(prefix, line) end
  local entry = enter_stream(prefix, line, '0', run_id, is_large(#input))
  local mark = string.format('0:%d', #input)
  local fields = { 'w', ARGV[at + 1], 'i', input, 'c', stamp, 'h', mark, 's', 'pending', 'e', entry }
  if version ~= '' then fields[13], fields[14] = 'v', version end
  if line then
    local size = #fields
    fields[size + 1], fields[size + 2] = 'q', line
  end
  redis.call('HSET', prefix .. 'run:' .. run_id, unpack(fields))
end

#!lua
-- Put a piece of a run that is to be imported aside: what is long does not travel in one call. What is not made a run
-- within its time goes by itself.
--
-- Replies  ok

local prefix    = KEYS[1]   -- str   of every key in the partition
local operation = ARGV[1]   -- str   of this import
local what      = ARGV[2]   -- word  run | state | events
local keep_ms   = ARGV[3]   -- ms
local parts     = 4         -- tail  of a run and its state fields and values, in turn; of events id kind data step attempt

local staged = prefix .. 'import:' .. operation .. ':' .. what
if what == 'events' then
  for at = parts, #ARGV, 5 do
    local fields = { 'k', ARGV[at + 1], 'd', ARGV[at + 2] }
    if ARGV[at + 3] ~= '' then fields[5], fields[6], fields[7], fields[8] = 's', ARGV[at + 3], 'a', ARGV[at + 4] end
    -- A piece that is sent again is there already, whole or up to where the server stopped.
    if #redis.call('XRANGE', staged, ARGV[at], ARGV[at]) == 0 then redis.call('XADD', staged, ARGV[at], unpack(fields)) end
  end
else
  local fields = {}
  for place = parts, #ARGV do fields[#fields + 1] = ARGV[place] end
  redis.call('HSET', staged, unpack(fields))
end
redis.call('PEXPIRE', staged, keep_ms)
return { 'ok' }

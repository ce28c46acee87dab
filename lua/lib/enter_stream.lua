-- @include lib/ring.lua

local function enter_stream(prefix, queue, lane, run_id)
  local entry = lane .. ':' .. redis.call('XADD', prefix .. 'q:' .. (queue or 'default') .. ':' .. lane, '*', 'r', run_id)
  ring(prefix, queue)
  return entry
end

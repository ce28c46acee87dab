#!lua flags=no-writes
-- The runs of a queue that no worker has taken up yet, in the order in which a claim reads them: woken ones, then by
-- priority, each in the order in which they came. (Now and then a claim lets another priority go first.)
--
-- Replies  ok { <run_id> <lane> <ms when its entry came> } ...

local prefix = KEYS[1]   -- str   of every key in the partition
local queue  = ARGV[1]   -- str
local limit  = ARGV[2]   -- int   entries to look at, at most

local lanes, used = { 'w' }, '0' .. (redis.call('HGET', prefix .. 'lanes', queue) or '')
for lane = 9, 0, -1 do
  if string.find(used, lane, 1, true) then lanes[#lanes + 1] = tostring(lane) end
end

local reply, left = { 'ok' }, tonumber(limit)
for _, lane in ipairs(lanes) do
  local stream = prefix .. 'q:' .. queue .. ':' .. lane
  -- What was delivered is pending or gone from the stream: behind the last that is pending, all is new.
  local pending = redis.pcall('XPENDING', stream, 'workers')
  local after = not pending.err and pending[3] and '(' .. pending[3] or '-'
  local entries = left > 0 and redis.pcall('XRANGE', stream, after, '+', 'COUNT', left) or {}
  for _, entry in ipairs(entries.err and {} or entries) do
    local run_id = entry[2][2]
    local r = redis.pcall('HMGET', prefix .. 'run:' .. run_id, 's', 'e')
    if r[1] == 'pending' and r[2] == lane .. ':' .. entry[1] then
      reply[#reply + 1] = { run_id, lane, string.match(entry[1], '^%d+') }
    end
    left = left - 1
  end
end
return reply

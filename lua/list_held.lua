#!lua flags=no-writes
-- Runs of a queue that workers hold: of each worker some, those first that it took up first, lane by lane.
--
-- Replies  ok { <worker> <run_id> <ms for which it has not renewed the lease> } ...

local prefix = KEYS[1]   -- str   of every key in the partition
local queue  = ARGV[1]   -- str
local most   = ARGV[2]   -- int   runs of each worker, at most
local looks  = 1000      -- entries that are looked at, at most, for all workers together

local reply, left, listed = { 'ok' }, looks, {}

local function list_of(worker, stream, lane)
  local wanted = math.min(tonumber(most) - (listed[worker] or 0), left)
  if wanted <= 0 then return end
  for _, pending in ipairs(redis.call('XPENDING', stream, 'workers', '-', '+', wanted, worker)) do
    left = left - 1
    local entry = redis.call('XRANGE', stream, pending[1], pending[1])[1]
    local run_id = entry and entry[2][2]
    local r = run_id and redis.pcall('HMGET', prefix .. 'run:' .. run_id, 's', 'e')
    if r and r[1] == 'running' and r[2] == lane .. ':' .. pending[1] then
      reply[#reply + 1] = { worker, run_id, pending[3] }
      listed[worker] = (listed[worker] or 0) + 1
    end
  end
end

for lane in string.gmatch('w0' .. (redis.call('HGET', prefix .. 'lanes', queue) or ''), '.') do
  local stream = prefix .. 'q:' .. queue .. ':' .. lane
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
  for _, item in ipairs(consumers.err and {} or consumers) do
    if item[4] > 0 then list_of(item[2], stream, lane) end
  end
end
return reply

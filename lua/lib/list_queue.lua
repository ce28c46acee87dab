-- Which queues there are: for counting, because keys are never scanned. Each is noted once in a script.
local noted = {}
local function list_queue(prefix, queue)
  if noted[queue] then return end
  noted[queue] = true
  redis.call('SADD', prefix .. 'queues', queue)
end

-- New entries of a stream. Its group is made when it is first asked for, and from the beginning of the stream: what
-- came before the group is work too.
local function read_new(stream, worker, count)
  local reply = redis.pcall('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'STREAMS', stream, '>')
  if reply and reply.err then
    redis.call('XGROUP', 'CREATE', stream, 'workers', '0', 'MKSTREAM')
    reply = redis.call('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'STREAMS', stream, '>')
  end
  if not reply or not reply[1] then return {} end
  return type(reply[1]) == 'table' and reply[1][2] or reply[2] -- fakeredis leaves out the outer list
end

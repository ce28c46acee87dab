-- Whether a worker that lives, or left a moment ago, reads this queue and has the code of this workflow and version.
local function is_served(prefix, queue, workflow, version, now)
  local place = (queue or 'default') .. ' ' .. workflow .. ' '
  local r = redis.call('ZMSCORE', prefix .. 'served', place, place .. (version or ''))
  return math.max(tonumber(r[1] or 0), tonumber(r[2] or 0)) > now
end

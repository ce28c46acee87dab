-- A run's tags are lines, and before them a line with a short hash of each: its listing has a name of bounded length.
-- Two tags may share one: whoever reads a listing looks at the run's own tags, too.
local function tag_listings(prefix, tags)
  local listings = {}
  for hash in string.gmatch(string.match(tags, '^[^\n]*'), '%x+') do listings[#listings + 1] = prefix .. 'tag:' .. hash end
  return listings
end

local function list_tags(prefix, tags, stamp, run_id)
  for _, listing in ipairs(tag_listings(prefix, tags)) do redis.call('ZADD', listing, stamp, run_id) end
end

local function unlist_tags(prefix, tags, run_id)
  for _, listing in ipairs(tag_listings(prefix, tags)) do redis.pcall('ZREM', listing, run_id) end
end

-- The listing of everything that has a tag ("name=value"); its name is bounded, whatever the tag is. Two tags may share
-- one: whoever reads it looks at the run's own tags, too.
local function tag_listing(prefix, tag) return prefix .. 'tag:' .. string.sub(redis.sha1hex(tag), 1, 16) end

-- A run's tags are lines.
local function list_tags(prefix, tags, stamp, run_id)
  for tag in string.gmatch(tags, '[^\n]+') do redis.call('ZADD', tag_listing(prefix, tag), stamp, run_id) end
end

local function unlist_tags(prefix, tags, run_id)
  for tag in string.gmatch(tags, '[^\n]+') do redis.call('ZREM', tag_listing(prefix, tag), run_id) end
end

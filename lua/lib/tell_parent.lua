-- @include lib/give_end.lua
-- @include lib/post.lua

-- The end of a child, for its parent: in this step where both live in one partition (the last four digits of an id).
local function tell_parent(prefix, parent, child, status, cause, payload, now)
  local item = table.concat({ 'c', child, status, cause, payload }, '\n')
  if string.sub(parent, -4) == string.sub(child, -4) then
    give_end(prefix, parent, child, item, now)
  else
    post(prefix, 'do', 'give_end', 'run', parent, 'child', child, 'item', item)
  end
end

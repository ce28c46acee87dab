-- Add a value to the list of this key: what many runs do to one key is done in one command.
local function collect(lists, key, value)
  local list = lists[key]
  if list then
    list[#list + 1] = value
  else
    lists[key] = { value }
  end
end

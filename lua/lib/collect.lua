-- Add a value (or two) to the list of this key: what many runs do to one key is done in one command.
local function collect(lists, key, value, second)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  local size = #list
  list[size + 1] = value
  if second then list[size + 2] = second end
end

-- Whether a run is registered for the signals whose name has this hash, by its field `sg`: hashes between blanks.
local function waits_for(names, hash)
  return names and string.find(' ' .. names .. ' ', ' ' .. hash .. ' ', 1, true) ~= nil
end

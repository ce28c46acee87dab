-- A net under clients that keep no limits of their own: twice the largest value that one can be configured to store here.
local function is_oversized(input) return #input > 67108864 end

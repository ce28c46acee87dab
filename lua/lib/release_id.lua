-- The release that a control is in, nil where it is in none.
local function release_id(state) return state and string.match(state, '^releasing:(.*)$') end

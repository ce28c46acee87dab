-- The key of the minute in which an instant lies.
local function minute_key(prefix, at_ms) return string.format('%sminute:%d', prefix, math.floor(at_ms / 60000)) end

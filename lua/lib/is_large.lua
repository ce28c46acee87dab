-- Runs with a larger input are not read whole by a claim before their size is known.
local function is_large(input_bytes) return input_bytes > 16384 end

-- What few new runs need: those with a time, a deadline, an idempotency key or further fields. As in lines.lua, its
-- functions are made when the first of them comes along, so that others do not pay for them.
local terms
local function on_terms()
  if terms then return terms end
-- @include lib/instant.lua
-- @include lib/is_beyond.lua
-- @include lib/may_queue.lua
-- @include lib/has_record.lua
-- @include lib/known_by_key.lua
-- @include lib/store_on_terms.lua
  terms = {
    is_beyond = is_beyond, known_by_key = known_by_key, may_queue = may_queue, has_record = has_record,
    store = store_on_terms
  }
  return terms
end

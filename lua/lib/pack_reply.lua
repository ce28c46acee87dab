-- What a script of the user's gives back, as the codec writes it (msgpack): nil, whole numbers, bytes, and lists of
-- these, by the rules by which Redis itself gives a script's reply to a client.
local function big_endian(number, count)
  local bytes = {}
  for place = count, 1, -1 do
    bytes[place] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

local function pack_reply(value, depth)
  local kind = type(value)
  if kind == 'string' then return '\198' .. big_endian(#value, 4) .. value end
  if kind == 'number' then
    local whole = value < 0 and math.ceil(value) or math.floor(value)
    if not (whole > -9007199254740992 and whole < 9007199254740992) then
      error('its reply holds a number that is not exact: give it back as a string', 0)
    end
    if whole >= 0 and whole < 128 then return string.char(whole) end
    return '\211' .. big_endian(whole, 8)
  end
  if kind == 'boolean' then return value and '\1' or '\192' end
  if kind == 'nil' then return '\192' end
  if kind ~= 'table' then error('its reply holds a ' .. kind, 0) end
  if value.err then error(value.err, 0) end
  if value.ok then return pack_reply(value.ok, depth) end
  if depth == 0 then error('its reply is nested too deep', 0) end
  local parts = {}
  for place, item in ipairs(value) do parts[place] = pack_reply(item, depth - 1) end
  return '\221' .. big_endian(#parts, 4) .. table.concat(parts)
end

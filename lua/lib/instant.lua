-- An instant as clients give it: empty for none, "+ms" from now (their clocks are not asked), or unix ms.
local function instant(text, now)
  if text == '' then return nil end
  return string.sub(text, 1, 1) == '+' and now + tonumber(text) or tonumber(text)
end

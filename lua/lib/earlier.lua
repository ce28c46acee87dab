local function earlier(a, b)
  if not a or (b and b < a) then return b end
  return a
end

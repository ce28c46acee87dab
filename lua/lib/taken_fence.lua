-- Taking a run from its holder keeps the count (only a claim counts) and spoils the nonce.
local function taken_fence(fence)
  return (fence and string.match(fence, '^%d+') or '0') .. ':-'
end

-- A fence is "<claims>:<nonce>", compared for equality: after a fail-over two holders may have the same count.
local function next_fence(fence, nonce)
  local claims = fence and tonumber(string.match(fence, '^%d+')) or 0
  return string.format('%d:%s', claims + 1, nonce)
end

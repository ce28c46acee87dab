-- A fence is "<claims>:<nonce>", compared for equality: after a fail-over two holders may have the same count.
local function next_fence(fence, nonce)
  if not fence then return '1:' .. nonce end
  return string.format('%d:%s', string.match(fence, '^%d+') + 1, nonce)
end

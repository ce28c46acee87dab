-- Run a script of the user's, once it has been given KEYS and ARGV, and give how that ended and with what: its packed
-- reply, or why it has none. What it raises is caught: it belongs to the step. The text is compiled as source, behind
-- words of ours, so it is never taken for precompiled code; its line numbers stay.
local function run_given(script, names, values)
  local given, why = loadstring('local KEYS, ARGV = ...; ' .. script, '=script')
  if not given then return 'failed', why end
  -- Redis refuses to set globals; fakeredis, which would notice it only after the whole transition, has this instead.
  local enclose = rawget(_G, 'setfenv')
  if enclose then
    local refuse = function(_, name) error('Attempt to set the global ' .. name, 2) end
    enclose(given, setmetatable({}, { __index = _G, __newindex = refuse }))
  end
  local fine, reply = pcall(function() return pack_reply(given(names, values), 8) end)
  -- What it said about the protocol must not change what the rest of the transition is answered.
  redis.setresp(2)
  if fine and #reply > 65536 then fine, reply = false, 'it ran, but its reply has more than 65,536 bytes' end
  if fine then return 'succeeded', reply end
  return 'failed', string.sub(type(reply) == 'table' and reply.err or tostring(reply), 1, 1000)
end

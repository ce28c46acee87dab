#!lua flags=no-writes
-- Which calls the server refuses to whoever runs this: a user's rules count inside scripts, and a call that is refused
-- in the middle of one leaves what was written before it. Nothing is called here.
--
-- Replies  ok <refused>...

local prefix = KEYS[1]   -- str   of every key in the partition
local first  = 1         -- tail  calls, as words; `$` stands for a key (or a channel) of the partition

local refused = { 'ok' }
for at = first, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[at], '%S+') do words[#words + 1] = word == '$' and prefix .. 'meta' or word end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words)) -- an error: the server has no such command
  if not (known and allowed) then refused[#refused + 1] = ARGV[at] end
end
return refused

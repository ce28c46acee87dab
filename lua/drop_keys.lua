#!lua
-- Delete keys, whatever they hold: of a namespace that is deleted as a whole. The server frees their memory by and by.
--
-- Replies  ok <deleted>

local prefix = KEYS[1]   -- str   of every key in the partition
local names  = 1         -- tail  keys, without the prefix

local deleted = 0
for place = names, #ARGV do deleted = deleted + redis.call('UNLINK', prefix .. ARGV[place]) end
return { 'ok', deleted }

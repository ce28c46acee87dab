#!lua flags=no-writes
-- What was counted, a bounded number of minutes at a time.
--
-- Replies  ok <first minute> <1: there are more | 0> { field count ... } of each minute in turn

-- @include lib/clock.lua
-- @include lib/minute_key.lua

local prefix   = KEYS[1]   -- str   of every key in the partition
local at       = ARGV[1]   -- int   the first minute, empty: that of `since_ms` ago
local since_ms = ARGV[2]   -- ms
local limit    = ARGV[3]   -- int   minutes at most

local now = now_ms()
local this = math.floor(now / 60000)
local first = tonumber(at) or math.floor((now - since_ms) / 60000)
local last = math.min(this, first + limit - 1)
local reply = { 'ok', first, last < this and 1 or 0 }
for minute = first, last do
  local fields = redis.pcall('HGETALL', minute_key(prefix, minute * 60000))
  reply[#reply + 1] = fields.err and {} or fields
end
return reply

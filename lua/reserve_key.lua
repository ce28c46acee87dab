#!lua
-- Give an idempotency key to a run that lives in another partition (with its limits): the key first, then the run, then
-- the word that it was made. Who comes with the key in between makes the same run, which is one run however often.
--
-- Replies  reserved <run_id> | existing <run_id> | conflict <run_id>
--          reserved: create this run, and then come again with `made`

-- @include lib/known_by_key.lua

local prefix      = KEYS[1]   -- str   of every key in the partition
local run_id      = ARGV[1]   -- str   the run to be created, if nobody was here before
local idem        = ARGV[2]   -- str   the key's hash
local idem_ms     = ARGV[3]   -- ms    how long it is kept
local fingerprint = ARGV[4]   -- str   tells one input from another
local made        = ARGV[5]   -- word  made, once the run is stored; else empty

local open = fingerprint .. '?'
local known = known_by_key(prefix, idem, open)
if known and known[1] == 'conflict' then
  known = known_by_key(prefix, idem, fingerprint)
  -- Reserved with another input and not made yet: it is in the hands of whoever came first.
  return known
end
local first = known and known[2] or run_id
redis.call('SET', prefix .. 'idem:' .. idem, first .. ' ' .. (made ~= '' and fingerprint or open), 'PX', idem_ms)
return { made ~= '' and 'existing' or 'reserved', first }

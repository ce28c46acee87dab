#!lua
-- Store a run that ended elsewhere, of what was put aside: its hash, its places in listings, and what it said.
--
-- Moves    (nothing) -> succeeded | failed | canceled
-- Replies  imported | existing | ahead <now_ms> | unstaged
--          existing: a run of this id is here; ahead: it ended later than it is now; unstaged: what was put aside is not
--          all there
--
-- What was put aside is taken: a copy of this call that comes late, when the run was deleted again, makes nothing.

-- @include lib/clock.lua
-- @include lib/list_queue.lua
-- @include lib/list_tags.lua
-- @include lib/look_for_kids.lua

local prefix    = KEYS[1]    -- str   of every key in the partition
local run_id    = ARGV[1]    -- str
local operation = ARGV[2]    -- str   of this import: names what was put aside
local workflow  = ARGV[3]    -- str
local status    = ARGV[4]    -- word  succeeded | failed | canceled
local created   = ARGV[5]    -- ms
local ended     = ARGV[6]    -- ms
local queue     = ARGV[7]    -- str   empty: the default one
local tags      = ARGV[8]    -- str   as they are stored; empty: none
local parent    = ARGV[9]    -- str   empty: none
local payloads  = ARGV[10]   -- int   of its hash: input, outcome and records
local state     = ARGV[11]   -- int   values
local events    = ARGV[12]   -- int
local fields    = 13         -- tail  further fields of its hash, each with its value

local run_key, staged = prefix .. 'run:' .. run_id, prefix .. 'import:' .. operation
if redis.call('EXISTS', run_key) == 1 then
  local by = string.match(redis.call('HGET', run_key, 'im') or '', ' (%S+)$')
  return { by == operation and 'imported' or 'existing' }
end
local now = now_ms()
if math.max(tonumber(created), tonumber(ended)) > now then return { 'ahead', now } end
local is_there = redis.call('HLEN', staged .. ':run') == tonumber(payloads)
  and redis.call('HLEN', staged .. ':state') == tonumber(state)
  and redis.call('XLEN', staged .. ':events') == tonumber(events)
if not is_there then return { 'unstaged' } end

local hash = { 'w', workflow, 's', status, 'c', created, 't', ended, 'im', string.format('%d', now) .. ' ' .. operation }
local function field(name, value)
  if value == '' then return end
  hash[#hash + 1] = name
  hash[#hash + 1] = value
end
field('q', queue)
field('tg', tags)
field('pa', parent)
for place = fields, #ARGV, 2 do field(ARGV[place], ARGV[place + 1]) end

local function take(what, key)
  redis.call('RENAME', staged .. ':' .. what, key)
  redis.call('PERSIST', key)
end

-- Its hints come first, and its hash last: what fails in between leaves no run, and hints without a run are dropped.
redis.call('ZADD', prefix .. 'done:' .. workflow .. ':' .. status, ended, run_id)
redis.call('SADD', prefix .. 'workflows', workflow)
-- Retried in place, it will stand there.
if queue ~= '' then list_queue(prefix, queue) end
list_tags(prefix, tags, created, run_id)
if tonumber(state) > 0 then take('state', prefix .. 'state:' .. run_id) end
if tonumber(events) > 0 then take('events', prefix .. 'events:' .. run_id) end
redis.call('HSET', staged .. ':run', unpack(hash))
take('run', run_key)
-- A parent that waits here for this very run, lost and brought back, hears of its end.
if parent ~= '' and redis.call('HEXISTS', prefix .. 'kids:' .. parent, run_id) == 1 then look_for_kids(prefix, parent) end
return { 'imported' }

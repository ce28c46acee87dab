#!lua flags=allow-oom
-- Pause a queue (its streams are not read) or a workflow (its runs are held back when they are claimed); or stop a
-- release, where it is still that one. What is running goes on; runs can be started.
--
-- Replies  ok

-- @include lib/clock.lua
-- @include lib/release_id.lua

local prefix  = KEYS[1]   -- str   of every key in the partition
local control = ARGV[1]   -- str   q:<queue> or w:<workflow>
local release = ARGV[2]   -- str   the release to be stopped; empty: pause

local state = redis.call('HGET', prefix .. 'controls', control)
if release ~= '' and release_id(state or '') ~= release then return { 'ok' } end
local word = release ~= '' and 'stopped' or 'paused'
if state == word then return { 'ok' } end

local now = now_ms()
redis.call('HSETNX', prefix .. 'control:' .. control, 'since', now)
if word == 'stopped' then redis.call('HSET', prefix .. 'control:' .. control, 'stopped', now) end
redis.call('HSET', prefix .. 'controls', control, word)
return { 'ok' }

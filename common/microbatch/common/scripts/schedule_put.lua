-- schedule_put: declare a schedule; a repeated declaration changes nothing.
--
-- Keys:    the queue's prefix
-- Args:    name, timetable, payload, digest, headers, options (words ttl_ms=, max_attempts=, priority=,
--          batch_key=, each optional), source, how many schedules a queue may have
-- Returns: 'new', 'same', 'changed', or 'full': there are too many
-- Atomic because: of many workers that start with one declaration the first one counts; and jobs that were put ahead
--          for an older definition must go in the step in which it ends.
-- A changed schedule begins anew: its next tick is the first one after now. One that is paused stays so.
-- Its payload is judged by the digest: sealed ones differ each time, and the newest is kept for keys that change.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include schedule
local name, source, limit = ARGV[1], ARGV[7], tonumber(ARGV[8])
local FIELDS = {'timetable', 'digest', 'headers', 'options'}
local DECLARED = {ARGV[2], ARGV[4], ARGV[5], ARGV[6]}
local key = schedule_key(name)
local kept = redis.pcall('HMGET', key, 'revision', 'paused', 'payload', unpack(FIELDS))
if kept.err then  -- something else wrote over it
  redis.call('RENAME', key, Q .. 'aside:' .. 'schedule:' .. name)
  kept = {}
end
local is_same = kept[1] and true
for i = 1, #FIELDS do
  if kept[i + 3] ~= DECLARED[i] then is_same = false end
end
local is_listed = redis.call('ZSCORE', Q .. 'schedules', name)
if is_same and is_listed then
  -- On a full server the old one stays: it is as good until its key goes.
  if kept[3] ~= ARGV[3] then redis.pcall('HSET', key, 'payload', ARGV[3]) end
  return 'same'
end
if not is_listed and redis.call('ZCARD', Q .. 'schedules') >= limit then return 'full' end

take_back_ahead(name)
redis.call('HSET', key, 'timetable', ARGV[2], 'payload', ARGV[3], 'digest', ARGV[4], 'headers', ARGV[5],
  'options', ARGV[6], 'source', source, 'revision', int((tonumber(kept[1] or nil) or 0) + 1),
  'last_ms', int(now_ms), 'changed_ms', int(now_ms))
redis.call('ZADD', Q .. 'schedules', kept[2] and NEVER or int(now_ms), name)
return kept[1] and 'changed' or 'new'

-- schedule_change: pause, resume or remove a schedule.
--
-- Keys:    the queue's prefix
-- Args:    name, action (pause | resume | remove)
-- Returns: 1, or 0 where there is no such schedule
-- Atomic because: the jobs that were put ahead go in the same step; one that is due by then is the queue's and runs.
-- Ticks that pass while a schedule is paused are not missed: they were not wanted.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include schedule
local name, action = ARGV[1], ARGV[2]
local key = schedule_key(name)
if not redis.call('ZSCORE', Q .. 'schedules', name) then return 0 end
local kept = redis.call('HMGET', key, 'revision', 'paused')
if not kept[1] then return 0 end
if action == 'remove' then
  take_back_ahead(name)
  redis.call('ZREM', Q .. 'schedules', name)
  redis.call('DEL', key)
elseif action == 'pause' and not kept[2] then
  take_back_ahead(name)
  redis.call('HSET', key, 'paused', int(now_ms), 'revision', int(tonumber(kept[1]) + 1))
  redis.call('ZADD', Q .. 'schedules', NEVER, name)
elseif action == 'resume' and kept[2] then
  redis.call('HDEL', key, 'paused')
  redis.call('HSET', key, 'last_ms', int(now_ms), 'revision', int(tonumber(kept[1]) + 1))
  redis.call('ZADD', Q .. 'schedules', int(now_ms), name)
end
return 1

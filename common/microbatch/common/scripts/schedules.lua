-- schedules: read schedules.
--
-- Keys:    the queue's prefix
-- Args:    which ('due': those that want a look now; 'all'; 'named'), how many at most, and with 'named' the names
-- Returns: {now_ms, {name, when to look at it (ms), its hash as a flat list, ticks whose jobs wait for them} ...}
-- Atomic because: a plan is made for one moment of the schedule, its jobs and the clock.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include schedule
local which, limit = ARGV[1], ARGV[2]
local result = {int(now_ms)}
local names = {}
if which == 'due' then
  names = redis.call('ZRANGEBYSCORE', Q .. 'schedules', '-inf', int(now_ms), 'LIMIT', 0, limit)
elseif which == 'all' then
  names = redis.call('ZRANGE', Q .. 'schedules', 0, int(tonumber(limit) - 1))
else
  for i = 3, #ARGV do names[#names + 1] = ARGV[i] end
end
for _, name in ipairs(names) do
  local look_ms = redis.call('ZSCORE', Q .. 'schedules', name)
  local hash = redis.pcall('HGETALL', schedule_key(name))
  if hash.err or #hash == 0 then  -- somebody deleted it; who only looks leaves that to the workers
    if which == 'due' then redis.call('ZREM', Q .. 'schedules', name) end
  elseif look_ms then
    local waiting = {}
    for _, put in ipairs(ahead_of(name)) do
      if waits_for_tick(put[1], put[2]) then waiting[#waiting + 1] = put[1] end
    end
    result[#result + 1] = {name, look_ms, hash, waiting}
  end
end
return result

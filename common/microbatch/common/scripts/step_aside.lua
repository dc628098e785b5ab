-- step_aside: this worker takes no work for now (no free slot, quiet, or leaving): let another one have it.
--
-- Keys:    the queue's prefix
-- Args:    worker, leaving (1 | 0)
-- Returns: jobs that it still holds; a leaving worker that holds none is forgotten
-- Atomic because: a wake that was sent to this worker must reach another one, and no second one in between.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
local worker, leaving = ARGV[1], ARGV[2] == '1'
local held = 0

redis.call('ZREM', Q .. 'idle', worker)
redis.call('DEL', Q .. 'offer:' .. worker)
local watcher = redis.call('GET', Q .. 'watcher')
if watcher and watcher:match('^%d+ (.+)$') == worker then redis.call('DEL', Q .. 'watcher') end
for _, lane in ipairs({'main', 'front', 'solo'}) do
  local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, '-', '+', 1, worker)
  if not pending.err then
    held = held + #pending
    if leaving and #pending == 0 then
      redis.pcall('XGROUP', 'DELCONSUMER', lane_key(lane), GROUP, worker)
    end
  end
end
if redis.call('EXISTS', LANES) == 1 then
  local listed = redis.call('HGETALL', Q .. 'batches:' .. worker)
  for i = 2, #listed, 2 do
    for lane, entry_id in listed[i]:gmatch('(%S+/%S*):(%d+%-%d+)') do
      held = held + #redis.call('XRANGE', lane_key(lane), entry_id, entry_id)
    end
  end
end
if leaving then redis.pcall('HDEL', Q .. 'lost', worker) end
if leaving and held == 0 then
  redis.call('DEL', Q .. 'batches:' .. worker)
  redis.call('ZREM', Q .. 'workers', worker)
  redis.pcall('HDEL', Q .. 'about', worker)
end
if work_is_near() then wake(false) end
return held

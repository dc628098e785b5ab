-- heartbeat: say that this worker lives, and look around.
--
-- Keys:    the queue's prefix
-- Args:    worker, heartbeat_limit_ms, stale_claim_ms, idle (1 | 0), thorough (1: look at the
--          types of the keys and at the counts of the side lanes too | 0), what it says about itself, then the ids of the batches it runs
-- Returns: {work waits (1 | 0), orphaned batch ids, dead workers, ms until the next worker counts as dead unless it
--          beats (-1: nobody), keys that held something else and were set aside,
--          a schedule wants to be looked at (1 | 0), max_batch_size and max_wait_ms as an operator limits them (''),
--          what operators ordered: a flat list of ids and texts}
--          orphaned: batches that Redis holds for this worker, older than stale_claim_ms, which it does not run:
--          the reply of their claim was lost
-- Atomic because: one look must see one moment. It is a script so that a full server lets it through.
-- @include base
-- @include gate
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include foreign
-- @include recount
-- @include orders
local worker, limit_ms, stale_ms, idle = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local about = ARGV[6]
local DEAD_PER_LOOK = 8

local aside = ARGV[5] == '1' and set_foreign_aside() or {}
redis.call('ZREMRANGEBYSCORE', Q .. 'idle', '-inf', int(now_ms - 3000))
if redis.call('ZADD', Q .. 'workers', int(now_ms), worker) == 1 then redis.pcall('HDEL', Q .. 'lost', worker) end
-- Who left and was forgotten says nothing any more; whoever lives says it again with the next beat.
if ARGV[5] == '1' and redis.call('HLEN', Q .. 'about') > redis.call('ZCARD', Q .. 'workers') then
  redis.call('DEL', Q .. 'about')
end
if ARGV[5] == '1' then recount_side() end
if about ~= '' and redis.call('HGET', Q .. 'about', worker) ~= about then
  redis.call('HSET', Q .. 'about', worker, about)
end

local watcher = redis.call('GET', Q .. 'watcher')
if watcher == HOLD then
  if is_gated('paused') then
    redis.call('PEXPIRE', Q .. 'watcher', HOLD_MS)
  else
    redis.call('DEL', Q .. 'watcher')
    watcher = false
  end
end
local watching = watcher and watcher:match('^%d+ (.+)$') == worker
if idle == '1' and not watching then redis.call('ZADD', Q .. 'idle', int(now_ms), worker) end

local running = {}
for i = 7, #ARGV do running[ARGV[i]] = true end
local orphans, is_unheard = {}, false
for _, batch in ipairs(redis.call('HKEYS', Q .. 'batches:' .. worker)) do
  if not running[batch] then
    local claimed_ms = redis.call('HGET', Q .. 'batches:' .. worker, batch):match('^%d+')
    if tonumber(claimed_ms) < now_ms - stale_ms then orphans[#orphans + 1] = batch else is_unheard = true end
  end
end

local dead = redis.call('ZRANGEBYSCORE', Q .. 'workers', '-inf', '(' .. int(now_ms - limit_ms),
  'LIMIT', 0, DEAD_PER_LOOK)
-- Work that somebody watches, or is being woken for, is in good hands. What this worker was handed and has not heard of
-- is answered to its next claim.
local waits = (is_unheard or not watcher and work_is_near()) and 1 or 0
local oldest = redis.call('ZRANGEBYSCORE', Q .. 'workers', int(now_ms - limit_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local next_dead_ms = oldest[1] ~= worker and tonumber(oldest[2]) - (now_ms - limit_ms) or -1
local schedule = redis.pcall('ZRANGE', Q .. 'schedules', 0, 0, 'WITHSCORES')
local ticks = not schedule.err and schedule[2] and tonumber(schedule[2]) <= now_ms
  and not is_gated('draining') and 1 or 0
local limits = redis.pcall('HMGET', Q .. 'limits', 'max_batch_size', 'max_wait_ms')
return {waits, orphans, dead, next_dead_ms, aside, ticks, limits[1] or '', limits[2] or '', orders_of(worker)}

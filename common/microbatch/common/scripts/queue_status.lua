-- queue_status: how a queue is doing, in one look.
--
-- Keys:    the queue's prefix
-- Args:    heartbeat_limit_ms
-- Returns: {waiting, running, dead letters, oldest waiting age in ms (-1: none), workers alive,
--           max_batch_size or '', max_wait_ms or '', scheduled, dead letters that had to make room,
--           keys that hold something else: what they should hold counts as nothing,
--           paused, draining: as the gate says, '' where not,
--           max_batch_size or '', max_wait_ms or '': as an operator limits them}
-- Atomic because: numbers of one moment add up.
-- @include base
-- @include backlog
-- @include lanes
-- @include foreign
local limit_ms = tonumber(ARGV[1])
local length, oldest_ms = 0, nil
local foreign, is_foreign = foreign_keys(), {}
for _, name in ipairs(foreign) do is_foreign[name] = true end

for _, lane in ipairs({'main', 'front', 'solo'}) do
  local first, delivered = {}, nil
  if not is_foreign['lane:' .. lane] then
    length = length + redis.call('XLEN', lane_key(lane))
    delivered = select(2, backlog(lane))
    first = redis.call('XRANGE', lane_key(lane), delivered and '(' .. delivered or '-', '+', 'COUNT', 1)
  end
  if first[1] then
    local fields, enqueued = first[1][2], entry_ms(first[1][1])
    for i = 1, #fields, 2 do
      if fields[i] == 'enqueued_ms' then enqueued = tonumber(fields[i + 1]) or enqueued end
    end
    if not oldest_ms or enqueued < oldest_ms then oldest_ms = enqueued end
  end
end
local side_length, side_waiting = side_counts()
length = length + side_length
local first_lane = redis.pcall('ZRANGE', LANES, 0, 0, 'WITHSCORES')
local first_ms = not first_lane.err and tonumber(first_lane[2] or nil)
if first_ms and first_ms < NOBODY_MS and (not oldest_ms or first_ms < oldest_ms) then oldest_ms = first_ms end
-- Counting meets every lane.
local is_whole = not (is_foreign['lane:main'] or is_foreign['lane:front'] or is_foreign['lane:solo'])
local waiting = (is_whole and waiting_jobs() or 0) + side_waiting

-- A key that somebody broke holds nothing of ours; the rest of the queue is still told.
local function counted(...)
  local count = redis.pcall(...)
  return type(count) ~= 'table' and tonumber(count or 0) or 0
end

-- What is due waits for a worker, although the claim that promotes it has not come yet.
local due = counted('ZCOUNT', Q .. 'scheduled', '-inf', int(now_ms))
local gate = redis.pcall('HMGET', Q .. 'gate', 'paused', 'draining')
local limits = redis.pcall('HMGET', Q .. 'limits', 'max_batch_size', 'max_wait_ms')
local settings = redis.pcall('HMGET', Q .. 'settings', 'max_batch_size', 'max_wait_ms')
return {
  waiting + due, math.max(0, length - waiting - tombstone_count()), counted('XLEN', Q .. 'dead'),
  oldest_ms and math.max(0, now_ms - oldest_ms) or -1,
  counted('ZCOUNT', Q .. 'workers', int(now_ms - limit_ms), '+inf'),
  settings[1] or '', settings[2] or '',
  counted('ZCARD', Q .. 'scheduled') - due, counted('HGET', Q .. 'counters', 'dead_trimmed'), foreign,
  gate[1] or '', gate[2] or '', limits[1] or '', limits[2] or '',
}

-- purge: cancel what waits in a queue, a bounded number of jobs a call; running ones go on.
--
-- Keys:    the queue's prefix
-- Args:    ttl_ms, before_ms ('' in the first call: now), the last scheduled job that was passed over ('' for none), the
--          most jobs
-- Returns: {before_ms, the last scheduled job that was passed over, jobs cancelled, more wait (1 | 0)}
--          Only what was accepted until before_ms is cancelled, so that a purge ends while producers go on.
--          What schedules have put ahead for ticks to come stays: these jobs do not wait yet.
-- Atomic because: a job is withdrawn and final in one step, and whoever waits for it is told.
-- A waiting entry is delivered to a consumer of its own and deleted with its acknowledgement, so that the group's
-- lag stays known and no tombstone is left.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include reply
-- @include finish
-- @include move
-- @include park
-- @include withdraw
-- @include schedule
local ttl_ms, passed, room = ARGV[1], ARGV[3], tonumber(ARGV[4])
local before_ms = ARGV[2] == '' and now_ms or tonumber(ARGV[2])
local CONSUMER, READ, BYTES = '-purge', 32, 1048576
local NIL = '\192'  -- msgpack
local cancelled, bytes = 0, 0

redis.call('ZREM', Q .. 'idle', CONSUMER)  -- first write: it frees, so that a full server lets it through

local function has_room()
  return cancelled < room and bytes < BYTES
end

local function enqueued_ms(entry_id, fields)
  return tonumber(fields['enqueued_ms']) or entry_ms(entry_id)
end

-- End a job whose entry is gone, unless the entry was not its live one.
local function finish_withdrawn(id, token, fields)
  local record = redis.pcall('HMGET', job_key(id), 'entry')
  if record.err or record[1] ~= token then return end
  call('HDEL', job_key(id), 'entry', 'last_error')
  finish(id, fields['client'] or '', 'cancelled', NIL, ttl_of(fields, ttl_ms))
  cancelled = cancelled + 1
end

-- The oldest entries of a lane that nobody has, as far as they are old enough.
local function oldest_of(lane)
  local _, delivered = (is_side(lane) and side_backlog or backlog)(lane)
  local found = redis.pcall('XRANGE', lane_key(lane), delivered and '(' .. delivered or '-', '+', 'COUNT', READ)
  local entries = {}
  for _, entry in ipairs(found.err and {} or found) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if enqueued_ms(entry[1], fields) > before_ms or #entries >= room - cancelled then break end
    entries[#entries + 1] = {entry[1], fields}
  end
  return entries
end

-- Take entries out of a lane; false where that cannot be. A group that is gone is made, as the next claim would.
local function take_out(lane, entries)
  if is_side(lane) then  -- no lag is read there
    for _, entry in ipairs(entries) do count_out(lane, redis.call('XDEL', lane_key(lane), entry[1]), 1) end
    return true
  end
  local command = {'XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', #entries, 'STREAMS', lane_key(lane), '>'}
  if redis.pcall(unpack(command)).err then
    redis.pcall('XGROUP', 'CREATE', lane_key(lane), GROUP, '0')
    if redis.pcall(unpack(command)).err then return false end
  end
  for _, entry in ipairs(entries) do
    drop_entry(lane, entry[1])
    redis.pcall('SREM', Q .. 'tombstones', lane .. ':' .. entry[1])
  end
  return true
end

local function clear(lane)
  local any = false
  while has_room() do
    local entries = oldest_of(lane)
    if #entries == 0 or not take_out(lane, entries) then break end
    any = true
    for _, entry in ipairs(entries) do
      bytes = bytes + #(entry[2]['payload'] or '')
      finish_withdrawn(entry[2]['id'] or '', lane .. ':' .. entry[1], entry[2])
    end
  end
  if any and is_side(lane) then relist(lane) end
  if any and not is_side(lane) then redis.pcall('XGROUP', 'DELCONSUMER', lane_key(lane), GROUP, CONSUMER) end
end

local function put_ahead()
  local found, names = {}, redis.pcall('ZRANGE', Q .. 'schedules', 0, -1)
  for _, name in ipairs(names.err and {} or names) do
    local words = redis.pcall('HGET', schedule_key(name), 'ahead')
    for tick, id in (type(words) == 'string' and words or ''):gmatch('(%d+)/(%S+)') do
      found[id] = tonumber(tick) > now_ms
    end
  end
  return found
end

local function clear_scheduled()
  local rank = passed ~= '' and redis.call('ZRANK', Q .. 'scheduled', passed)
  local first = rank and rank + 1 or 0  -- where that one is due by now, all are looked at again
  local ids = redis.pcall('ZRANGE', Q .. 'scheduled', first, first + room - cancelled - 1)
  if ids.err then return end
  local is_ahead = put_ahead()
  for _, id in ipairs(ids) do
    local record = redis.pcall('HMGET', job_key(id), 'state', 'enqueued_ms', 'parked')
    local is_later = is_ahead[id] or (tonumber(record[2]) or 0) > before_ms
    if not record.err and record[1] == 'scheduled' and is_later then
      passed = id
    elseif record.err or record[1] ~= 'scheduled' then
      redis.call('ZREM', Q .. 'scheduled', id)  -- whatever it was, it is none any more
    else
      if not has_room() then break end
      bytes = bytes + #(record[3] or '')
      local _, fields = withdraw(id, 'scheduled')
      call('HDEL', job_key(id), 'last_error')
      finish(id, fields['client'] or '', 'cancelled', NIL, ttl_of(fields, ttl_ms))
      cancelled = cancelled + 1
    end
  end
  return #ids > 0
end

local LANES_A_CALL = 256
for _, lane in ipairs({'solo', 'front', 'main'}) do clear(lane) end
local side = redis.pcall('ZRANGE', LANES, 0, LANES_A_CALL - 1)
for _, lane in ipairs(side.err and {} or side) do clear(lane) end
local more = #side == LANES_A_CALL and cancelled > 0 or not has_room()
if has_room() then more = clear_scheduled() or more end
send_replies()
return {int(before_ms), passed, cancelled, more and 1 or 0}

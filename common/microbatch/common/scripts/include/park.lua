-- park: a job waits in its record for its time. Needs base, lanes, wake and history.
-- Its entry is gone meanwhile; its fields are kept in the record as netstrings ("5:hello" and so on), so that
-- whoever promotes it writes the same entry again. The set `scheduled` orders local ids by due time.
local PROMOTED_JOBS, PROMOTED_BYTES = 256, 1048576
local SOON_MS = 1000

local function packed(fields)
  local parts = {}
  for i = 1, #fields do
    parts[#parts + 1] = #fields[i] .. ':'
    parts[#parts + 1] = fields[i]
  end
  return table.concat(parts)
end

local function unpacked(text)
  local fields, at = {}, 1
  while at <= #text do
    local colon = text:find(':', at, true)
    local size = colon and tonumber(text:sub(at, colon - 1):match('^%d+$'))  -- a negative one would lead back
    if not size then return nil end
    fields[#fields + 1] = text:sub(colon + 1, colon + size)
    at = colon + size + 1
  end
  return fields
end

local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- Whether the set can take it; asked before the writes, because a job must not end half-way through them.
local function can_park()
  return type(redis.pcall('ZCARD', Q .. 'scheduled')) == 'number'
end

-- `fields` is the flat list of the entry that the promotion writes. More pairs may follow for the record.
local function park(id, fields, due_ms, ...)
  call('HSET', job_key(id), 'state', 'scheduled', 'entry', 'scheduled', 'due_ms', int(due_ms),
    'parked', packed(fields), ...)
  call('ZADD', Q .. 'scheduled', int(due_ms), id)
end

-- Whoever sleeps must wake in time for it; what is due later is found by the look that each worker takes.
local function wake_for(due_ms)
  if due_ms < now_ms + SOON_MS then wake(true) end
end

-- Due jobs become entries again, a bounded number a call; whoever is alive does it.
local function promote_due()
  local due = redis.pcall('ZRANGEBYSCORE', Q .. 'scheduled', '-inf', int(now_ms), 'LIMIT', 0, PROMOTED_JOBS)
  if due.err or #due == 0 or type(redis.pcall('XLEN', lane_key('main'))) ~= 'number' then return end
  local bytes = 0
  for _, id in ipairs(due) do
    if bytes >= PROMOTED_BYTES then return end
    local record = redis.pcall('HMGET', job_key(id), 'state', 'parked', 'history')
    local fields = not record.err and record[1] == 'scheduled' and record[2] and unpacked(record[2])
    local lane = fields and lane_of(by_name(fields)) or 'main'
    if lane == 'main' or lanes_are_ours() then
      call('ZREM', Q .. 'scheduled', id)
      if fields and #fields > 0 then
        bytes = bytes + #record[2]
        call('HDEL', job_key(id), 'parked', 'due_ms')
        call('HSET', job_key(id), 'state', 'queued', 'entry', add_entry(lane, fields),
          'history', lengthened(record[3] or '', happening('promoted', '0')))
        tell_event(id, 'promoted', '0')
      end
    end
  end
end

-- Milliseconds until the next one is due; nil where none is scheduled.
local function next_due_ms()
  local first = redis.pcall('ZRANGE', Q .. 'scheduled', 0, 0, 'WITHSCORES')
  if first.err or not first[2] then return nil end
  return math.max(0, tonumber(first[2]) - now_ms)
end

-- Whether somebody should look now: work waits, or will within a moment.
local function work_is_near()
  if waiting_jobs() > 0 then return true end
  if redis.call('EXISTS', LANES, Q .. 'scheduled') == 0 then return false end
  if side_waits() then return true end
  local soon_ms = next_due_ms()
  return soon_ms ~= nil and soon_ms < SOON_MS
end

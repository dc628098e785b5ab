-- submit: accept jobs into a queue: one record and one stream entry each.
--
-- Keys:    the queue's prefix
-- Args:    client, max_queue_length, count, then per job: local id, digest, payload, options
--          (options: '' for none, else 'ttl_ms headers': how long the result is kept, or nothing, which leaves
--          it to the worker; a space; a msgpack map, or nothing)
-- Returns: count where all were new; else {retry_after_ms, code per job ...}
--          0 new, 1 the same job (id and payload known), 2 conflict (id known, other payload),
--          3 full, 4 the record's key holds something else
-- Atomic because: a record without an entry is a job that never runs, an entry without a record is a result
--          that nobody finds; and the capacity check must count what it admits.
-- @include base
-- @include backlog
-- @include wake
local client, max_length, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local NEW, SAME, CONFLICT, FULL, WRONG_TYPE = 0, 1, 2, 3, 4
local main = lane_key('main')

local length = call('XLEN', main)
if call('EXISTS', lane_key('front'), lane_key('solo'), Q .. 'scheduled') > 0 then  -- rare, so looked at once
  length = length + call('XLEN', lane_key('front')) + call('XLEN', lane_key('solo'))
    + call('ZCARD', Q .. 'scheduled')
end
local room = max_length - length
local accepted, codes, lane_known = 0, nil, false
local enqueued_ms = int(now_ms)

local function answer(index, code)
  if not codes then
    codes = {}
    for i = 1, index - 1 do codes[i] = NEW end
  end
  codes[index] = code
end

-- A replayed submit and a second one with the same payload are the same job, even when the queue is full.
local function known_code(record, digest)
  local known = redis.pcall('HGET', record, 'digest')
  if type(known) == 'table' then return WRONG_TYPE end
  return known == digest and SAME or CONFLICT
end

for i = 1, count do
  local a = 3 + (i - 1) * 4
  local id, digest = ARGV[a + 1], ARGV[a + 2]
  local record = job_key(id)
  if call('EXISTS', record) == 1 then
    answer(i, known_code(record, digest))
  elseif accepted >= room then
    answer(i, FULL)
  else
    if not lane_known then
      ensure_lane('main')
      lane_known = true
    end
    local options = ARGV[a + 4]
    local entry
    if options == '' then
      entry = call('XADD', main, '*', 'v', '1', 'id', id, 'client', client, 'payload', ARGV[a + 3])
    else
      local space = options:find(' ', 1, true)
      entry = call('XADD', main, '*', 'v', '1', 'id', id, 'client', client, 'payload', ARGV[a + 3],
        'headers', options:sub(space + 1), 'ttl_ms', options:sub(1, space - 1))
    end
    call('HSET', record, 'v', '1', 'state', 'queued', 'entry', 'main:' .. entry, 'digest', digest,
      'enqueued_ms', enqueued_ms)
    accepted = accepted + 1
    if codes then codes[i] = NEW end
  end
end

if accepted > 0 then wake(false) end
if not codes then return count end

-- When room is likely: the queue's jobs pass in the age of its oldest one, so one in a hundred of them
-- passes in a hundredth of it.
local retry_after_ms = 50
local oldest = redis.call('XRANGE', main, '-', '+', 'COUNT', 1)
if oldest[1] and max_length > 0 then
  local age_ms = now_ms - entry_ms(oldest[1][1])
  retry_after_ms = math.min(30000, math.max(50, age_ms * math.max(1, max_length / 100) / math.max(1, length)))
end
local result = {math.floor(retry_after_ms)}
for i = 1, count do result[i + 1] = codes[i] end
return result

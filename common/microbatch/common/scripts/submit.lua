-- submit: accept jobs into a queue: one record and one stream entry each.
--
-- Keys:    the queue's prefix
-- Args:    client, max_queue_length, count, not_after_ms ('' for no limit), then per job: local id, digest,
--          payload, options
--          options: '' for none; else words 'name=number' with spaces between them, a line feed, and a msgpack
--          map of headers, or nothing. Names: ttl_ms, max_attempts, expires_in_ms, delay_ms or due_ms,
--          not_after_ms (cheapest as the first), priority (may be negative), cost, batch_key (a name) with
--          max_batch_keys, unique (any bytes but white space and =) with unique_for_ms
-- Returns: count where all were new; else {retry_after_ms, code per job ...}
--          0 new, 1 the same job (id and payload known), 2 conflict (id known, other payload),
--          3 full, 4 the record's key holds something else (or the index of the lanes does), 5 late: after
--          not_after_ms nothing is accepted, 7 its batch key would open more lanes than max_batch_keys,
--          8 the queue drains: it takes nothing new;
--          a local id in the place of a code: the job that has the unique key already
-- Atomic because: a record without an entry is a job that never runs, an entry without a record is a result
--          that nobody finds; and the capacity check must count what it admits.
-- @include base
-- @include backlog
-- @include wake
local client, max_length, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local is_late = ARGV[4] ~= '' and now_ms > tonumber(ARGV[4])
local NEW, SAME, CONFLICT, FULL, WRONG_TYPE, LATE, TOO_MANY_KEYS, CLOSED = 0, 1, 2, 3, 4, 5, 7, 8
local FIRST, WIDTH, CHUNK = 4, 4, 1000
local main = lane_key('main')
-- @include hand
local accepted, codes, lane_known = 0, nil, false
local wakes, soonest_ms, side_jobs = false, nil, 0
local enqueued_ms = int(now_ms)
local records = {}

local function answer(index, code)
  if not codes then
    codes = {}
    for i = 1, index - 1 do codes[i] = NEW end
  end
  codes[index] = code
end

-- What plain jobs need not is made where a call does: making these functions costs more than a job's commands.
local function make_more()
-- @include gate
-- @include lanes
-- @include history
-- @include park
-- @include carried
-- @include unique
  local WORKERS_TTL_MS = 3600000  -- what workers keep an outcome for where nobody says anything
  local KEPT_MS = 60000  -- who was given another's job by its unique key can read its outcome that long after the end

  -- Jobs that wait elsewhere than in the main lane.
  local function waiting_elsewhere()
    local scheduled = redis.pcall('ZCARD', Q .. 'scheduled')  -- a key that somebody broke must not stop submits
    return call('XLEN', lane_key('front')) + call('XLEN', lane_key('solo'))
      + (type(scheduled) == 'number' and scheduled or 0) + side_counts()
  end

  -- Whether another job has the unique key of this one: then its id is the answer.
  local function is_taken(index, options)
    local first = options:find('unique=', 1, true) and first_of(options)
    if first then answer(index, first) end
    return first ~= nil
  end

  local side_lanes, is_index_ours = {}, nil  -- side lanes that get jobs in this call

  -- Whether a side lane can have a job now; else the code.
  local function refusal_of(lane, max_lanes)
    if is_index_ours == nil then is_index_ours = lanes_are_ours() end
    if not is_index_ours then return WRONG_TYPE end
    if max_lanes and not side_lanes[lane] and call('ZCARD', LANES) >= tonumber(max_lanes)
      and not call('ZSCORE', LANES, lane) then return TOO_MANY_KEYS end
    side_lanes[lane] = true
    return nil
  end

  -- A lane whose next batch is full is due at once. Returns whether there is one.
  local function call_full_lanes()
    local any, size = false, nil
    for lane in pairs(side_lanes) do
      if tonumber(call('ZSCORE', Q .. 'forming', lane) or 0) > 0 then
        size = size or redis.pcall('HGET', Q .. 'settings', 'max_batch_size')
        size = type(size) ~= 'table' and tonumber(size or nil) or math.huge
        if side_backlog(lane) >= size then
          call('ZADD', Q .. 'forming', 'XX', '0', lane)
          any = true
        end
      end
    end
    return any
  end

  -- A job that is more than a plain one: its entry has further fields, and it may have to wait for its time.
  -- Returns a code where it cannot be accepted.
  local function accept_with(options, id, digest, payload)
    local feed = options:find('\n', 1, true)
    local said, record_more = {}, {'enqueued_ms', enqueued_ms}
    for name, number in options:sub(1, feed - 1):gmatch('([%a_]+)=(%d+)') do said[name] = number end
    said.priority = options:match('^[^\n]-priority=(%-?%d+)')
    said.batch_key = options:match('^[^\n]-batch_key=([%w_.:-]+)')
    if said.not_after_ms and now_ms > tonumber(said.not_after_ms) then return LATE end
    local fields = {'id', id, 'client', client, 'payload', payload}
    local function add(name, value)
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
    local function remember(name, value)
      record_more[#record_more + 1] = name
      record_more[#record_more + 1] = value
    end
    if digest ~= '' then remember('digest', digest) end
    if feed < #options then add('headers', options:sub(feed + 1)) end
    local unique, for_ms = unique_key_of(options), tonumber(said.unique_for_ms) or 0
    if unique then  -- whoever is given this job's id must find its outcome
      local least_ms = math.max(KEPT_MS, for_ms)
      if (said.ttl_ms and tonumber(said.ttl_ms) or WORKERS_TTL_MS) < least_ms then said.ttl_ms = int(least_ms) end
    end
    if said.ttl_ms then add('ttl_ms', said.ttl_ms) end
    if said.max_attempts then add('max_attempts', said.max_attempts) end
    if said.expires_in_ms then
      local expires_ms = int(now_ms + tonumber(said.expires_in_ms))
      add('expires_ms', expires_ms)
      remember('expires_ms', expires_ms)
    end
    for _, name in ipairs({'priority', 'batch_key', 'cost'}) do
      if said[name] then add(name, said[name]) end
    end
    local due_ms = tonumber(said.due_ms) or now_ms + (tonumber(said.delay_ms) or 0)
    local record = job_key(id)
    if due_ms > now_ms then
      add('enqueued_ms', enqueued_ms)
      call('HSET', record, unpack(record_more))
      park(id, fields, due_ms)
      soonest_ms = math.min(soonest_ms or due_ms, due_ms)
    else
      local lane = lane_of(said)
      local token
      if lane == 'main' then
        token = 'main:' .. call('XADD', main, '*', unpack(fields))
      else
        local refusal = refusal_of(lane, said.max_batch_keys)
        if refusal then return refusal end
        token = add_entry(lane, fields)
        side_jobs = side_jobs + 1
      end
      call('HSET', record, 'entry', token, 'state', 'queued', unpack(record_more))
      wakes = true
    end
    if unique then take_key(unique, id, for_ms) end
    return NEW
  end

  -- Called where somebody listens.
  local function tell_accepted()
    for i = 1, count do
      if not codes or codes[i] == NEW then
        local state = redis.pcall('HGET', records[i], 'state')
        tell_event(ARGV[FIRST + (i - 1) * WIDTH + 1], state == 'scheduled' and 'scheduled' or 'submitted', '0')
      end
    end
    send_events()
  end

  return {is_gated = is_gated, waiting_elsewhere = waiting_elsewhere, is_listened = is_listened, is_taken = is_taken,
    accept_with = accept_with, call_full_lanes = call_full_lanes, tell_accepted = tell_accepted, wake_for = wake_for}
end
local made
local function more()
  made = made or make_more()
  return made
end

local length, is_closed, is_heard = call('XLEN', main), false, false
-- What is rare, so all of it is looked for at once.
local signs = call('EXISTS', lane_key('front'), lane_key('solo'), Q .. 'tombstones', Q .. 'scheduled', Q .. 'lanes',
  Q .. 'listeners', Q .. 'gate', Q .. 'limits')
if signs > 0 and signs > spent_lanes() then
  length = length + more().waiting_elsewhere()
  is_closed = more().is_gated('draining')
  is_heard = more().is_listened()
  local limit = redis.pcall('HGET', Q .. 'limits', 'max_queue_length')
  max_length = type(limit) == 'string' and tonumber(limit) or max_length
end
local room = max_length - length

-- A replayed submit and a second one with the same payload are the same job, even when the queue is full.
local function known_code(record, digest)
  local known = redis.pcall('HGET', record, 'digest')
  if type(known) == 'table' then return WRONG_TYPE end
  return (known or '') == digest and SAME or CONFLICT
end

-- Nearly always no id of a call is known: one look for all of them then replaces one for each.
local all_new = true
do
  local seen = {}
  for i = 1, count do
    local record = job_key(ARGV[FIRST + (i - 1) * WIDTH + 1])
    if seen[record] then all_new = false end
    seen[record] = true
    records[i] = record
  end
  for from = 1, count, CHUNK do
    if call('EXISTS', unpack(records, from, math.min(from + CHUNK - 1, count))) > 0 then all_new = false end
  end
end

for i = 1, count do
  local a = FIRST + (i - 1) * WIDTH
  local id, digest, record, options, is_over = ARGV[a + 1], ARGV[a + 2], records[i], ARGV[a + 4], is_late
  if options:sub(1, 13) == 'not_after_ms=' then  -- all that makes a job with a time-out more than a plain one
    local not_after_ms, others = options:match('^not_after_ms=(%d+) ?(.*)$')
    is_over = is_over or now_ms > tonumber(not_after_ms)
    options = others == '\n' and '' or others
  end
  if not all_new and call('EXISTS', record) == 1 then
    answer(i, known_code(record, digest))
  elseif is_over then
    answer(i, LATE)
  elseif options ~= '' and more().is_taken(i, options) then  -- and answered
  elseif is_closed then
    answer(i, CLOSED)
  elseif accepted >= room then
    answer(i, FULL)
  else
    if not lane_known then
      ensure_lane('main')
      lane_known = true
    end
    local code = NEW
    if options == '' then
      local entry = call('XADD', main, '*', 'id', id, 'client', client, 'payload', ARGV[a + 3])
      if digest == '' then
        call('HSET', record, 'entry', 'main:' .. entry, 'state', 'queued', 'enqueued_ms', enqueued_ms)
      else
        call('HSET', record, 'entry', 'main:' .. entry, 'state', 'queued', 'enqueued_ms', enqueued_ms,
          'digest', digest)
      end
      wakes = true
    else
      code = more().accept_with(options, id, digest, ARGV[a + 3])
    end
    if code == NEW then accepted = accepted + 1 end
    if code ~= NEW then answer(i, code) elseif codes then codes[i] = NEW end
  end
end

if is_heard then more().tell_accepted() end
local any_full = side_jobs > 0 and more().call_full_lanes()
-- Where nothing is rare, so that no other lane, pause or limit has a say, an idle worker can have few jobs at once.
if wakes then wake(any_full, side_jobs, not made and accepted <= HANDED_JOBS and hand) end
if soonest_ms then more().wake_for(soonest_ms) end
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

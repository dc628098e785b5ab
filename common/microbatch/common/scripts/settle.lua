-- settle: write the outcomes of a batch, acknowledge and delete its entries, tell the clients.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, reason, batch_size, started_ms, ttl_ms, close (1 where no other call for this batch
--          follows: until then the batch stays listed, so that a death between two calls strands nobody),
--          dead_max_length, waited_ms (how long the batch's oldest job had waited), next ('', or an offer's name and
--          a new id: it joins what this worker offers under that name; where that stands no more it is woken), then groups of jobs that share these: lane, client, ending, count; in each per job:
--          local id, entry id, value
--          ending: 'state attempt' or 'state attempt number', where state is succeeded, failed or expired and the
--          number is the time to live of these jobs instead of the default; or state is retry and the number says
--          in how many ms they are due again
-- Returns: count of jobs where every outcome was written; else a code per job:
--          0 written, 1 replay (this batch wrote it before), 2 final (something else did), 3 moved,
--          4 the record's key holds something else
-- Atomic because: a result without its acknowledgement runs twice, an acknowledgement without its result is
--          a lost job. The fence: only where record.entry is this very entry is anything written; a zombie
--          finds another token there (moved), or none (final).
-- A batch that is closed leaves nobody behind: what it lists and nobody settled goes back to the queue.
-- A job that failed leaves a dead letter; one that is to be retried waits in its record for its time.
-- @include base
-- @include history
-- @include reply
-- @include finish
local worker, batch, default_ttl_ms, close = ARGV[1], ARGV[2], ARGV[6], ARGV[7] == '1'
-- What all jobs of the batch say of it. In records it stands in two fields: servers keep a hash in its compact form only
-- while each of its values is short, and else it costs them a third more time and twice the memory.
local what, how = table.concat({batch, ARGV[4], ARGV[3]}, ' '), table.concat({ARGV[5], worker, ARGV[9]}, ' ')
local facts = what .. ' ' .. how
local dead_max_length, next_said = ARGV[8], ARGV[10]
local RECENT_LENGTH = '1000'
local WRITTEN, REPLAY, FINAL, MOVED, WRONG_TYPE = 0, 1, 2, 3, 4
local FIRST, HEAD, WIDTH, CHUNK = 10, 4, 3, 1000
local arguments = #ARGV
local codes, count, lost, ids = {}, 0, 0, {}
local kept = {}  -- by job that failed or is retried: the fields of its entry, which goes below
local soonest_ms = nil

-- What only failures, retries and side lanes need is made where a call has some: making these functions costs more
-- than settling a job.
local function make_more()
-- @include backlog
-- @include lanes
-- @include wake
-- @include move
-- @include park
-- @include dead
  local function leave_side_lane(lane, gone, acknowledged)
    count_out(lane, gone, math.max(0, gone - acknowledged))  -- a failover undid the claim of what was not pending
    tidy_lane(lane, worker)
  end

  -- Whether a job was given its next run.
  local function retry(i, id, entry_id, group, value)
    local carried = kept[i]
    -- Somebody deleted its entry, so there is nothing to run again; or broke the key that it would wait in.
    if #carried.flat == 0 or not can_park() then return false end
    local due_ms = now_ms + tonumber(group.ttl_ms)
    park(id, renewed(entry_id, carried.fields, carried.flat, 1, 0, 1), due_ms,
      'last_error', value, 'attempt', group.attempt, 'batch', what, 'ran', how,
      'history', lengthened(history_of(id), happening('retried', group.attempt, facts, value)))
    tell_event(id, 'retried', group.attempt, facts, value)
    soonest_ms = math.min(soonest_ms or due_ms, due_ms)
    return true
  end

  -- A job that the batch lists goes back to the queue.
  local function hand_back(lane, entry_id, held)
    local moved = move(lane, entry_id, 'front', 1, 0, 'handed_back', facts_of(batch, worker, held))
    tidy_left_lanes(worker)
    if moved then wake(true) end
  end

  return {leave_side_lane = leave_side_lane, hand_back = hand_back, read_entry = read_entry, retry = retry, bury = bury, wake_for = wake_for}
end
local made
local function more()
  made = made or make_more()
  return made
end

-- What the jobs of a group share, and where they stand in ARGV.
local groups = {}
do
  local at = FIRST
  while at < arguments do
    local state, attempt, number = ARGV[at + 3]:match('^(%a+) (%d+) ?(%d*)$')
    local size = tonumber(ARGV[at + 4])
    groups[#groups + 1] = {lane = ARGV[at + 1], client = ARGV[at + 2], state = state, attempt = attempt,
      ttl_ms = number == '' and default_ttl_ms or number, carries = state == 'failed' or state == 'retry',
      first = at + HEAD, size = size}
    at = at + HEAD + size * WIDTH
  end
end

-- For an outcome that cannot simply be written: the code, and whether the entry goes. It goes also where it does
-- not stand for the job any more: it is gone already then, or a stray copy that nobody else would acknowledge.
local function code_of(id, record, lane, entry_id, live)
  if type(live) == 'table' then return WRONG_TYPE, true end
  local known = redis.call('HMGET', record, 'state', 'batch')
  -- No record: it was deleted, and this entry still stands for the job while it is pending.
  if not known[1] then
    local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1)
    local ours = not pending.err and #pending > 0
    -- After a failover that undid this job, its token may be given again, to another one.
    local fields = ours and more().read_entry(lane, entry_id)
    if fields and fields['id'] ~= id then ours = false end
    return ours and WRITTEN or FINAL, ours
  end
  local is_ours = known[2] and known[2]:sub(1, #batch + 1) == batch .. ' '
  -- A takeover may have failed the job in this batch's name.
  if is_ours and known[2] ~= unreasoned(batch, worker) then return REPLAY, true end
  return live == '' and FINAL or MOVED, true
end

-- 1. Look only.
for _, group in ipairs(groups) do
  local lane, prefix, carries, a = group.lane, group.lane .. ':', group.carries, group.first
  local entries = ids[lane] or {}
  local going = #entries
  ids[lane] = entries
  for i = count + 1, count + group.size do
    local id, entry_id = ARGV[a + 1], ARGV[a + 2]
    local record = job_key(id)
    local live = redis.pcall('HGET', record, 'entry')
    local code, goes = WRITTEN, true
    if live ~= prefix .. entry_id then
      code, goes = code_of(id, record, lane, entry_id, live)
      if code ~= WRITTEN then lost = lost + 1 end
    end
    codes[i] = code
    if goes then
      going = going + 1
      entries[going] = entry_id
      if carries and code == WRITTEN then
        local fields, flat = more().read_entry(lane, entry_id)
        kept[i] = {fields = fields or {}, flat = flat or {}}
      end
    end
    a = a + WIDTH
  end
  count = count + group.size
end

-- 2. Free first (acknowledge, delete), so that a full server still drains; then write.
for lane, entries in pairs(ids) do
  local acknowledged, gone = 0, 0
  for from = 1, #entries, CHUNK do
    local upto = math.min(from + CHUNK - 1, #entries)
    acknowledged = acknowledged + redis.call('XACK', lane_key(lane), GROUP, unpack(entries, from, upto))
    gone = gone + redis.call('XDEL', lane_key(lane), unpack(entries, from, upto))
  end
  if lane:find('/', 1, true) then more().leave_side_lane(lane, gone, acknowledged) end
end
-- What earlier calls of this batch wrote may be undone by now: a failover takes the last moments away. Then their jobs
-- stand here as if they ran, and nothing but the batch knows of them: they go back before it goes.
local held = close and count < tonumber(ARGV[4]) and redis.call('HGET', Q .. 'batches:' .. worker, batch) or ''
for lane, entry_id in held:gmatch('(%S+):(%d+%-%d+)') do
  local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1, worker)
  if not pending.err and #pending > 0 then more().hand_back(lane, entry_id, held) end
end
local is_closed = close and redis.call('HDEL', Q .. 'batches:' .. worker, batch) == 1
if is_closed then
  redis.pcall('XADD', Q .. 'recent', 'MAXLEN', '~', RECENT_LENGTH, '*', 'batch', facts)  -- what it held is no reason to fail
end
if next_said ~= '' then
  local offer, name, next_id = Q .. 'offer:' .. worker, next_said:match('^(%S+) (%S+)$')
  local stands = redis.pcall('GET', offer)
  -- Not twice by a call that is repeated, and not to the offer of a later claim, which may hold that id too.
  if is_closed and type(stands) == 'string' and stands:match('^%d+ (%S+)') == name then
    redis.call('SET', offer, stands .. ' ' .. next_id, 'KEEPTTL')
  else
    redis.pcall('PUBLISH', Q .. 'wake:' .. worker, '1')
  end
end

local function write(i, id, entry_id, group, value)
  local state, ttl_ms = group.state, group.ttl_ms
  if state == 'retry' then
    if more().retry(i, id, entry_id, group, value) then return end
    state, ttl_ms = 'failed', default_ttl_ms
  end
  if kept[i] then
    more().bury(kept[i].flat, {token = group.lane .. ':' .. entry_id, id = id, error = value, worker = worker,
      batch = batch, attempt = group.attempt}, dead_max_length)
  end
  finish(id, group.client, state, value, ttl_ms, 'attempt', group.attempt, 'batch', what, 'ran', how)
end

local job = 0
for _, group in ipairs(groups) do
  local a = group.first
  for i = job + 1, job + group.size do
    if codes[i] == WRITTEN then
      write(i, ARGV[a + 1], ARGV[a + 2], group, ARGV[a + 3])
    elseif codes[i] == WRONG_TYPE then
      announce(group.client, ARGV[a + 1], group.state, ARGV[a + 3], false)
    end
    a = a + WIDTH
  end
  job = job + group.size
end
send_replies()
if soonest_ms then more().wake_for(soonest_ms) end
if lost == 0 then return count end
return codes

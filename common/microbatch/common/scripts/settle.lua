-- settle: write the outcomes of a batch, acknowledge and delete its entries, tell the clients.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, reason, batch_size, started_ms, ttl_ms, close (1 where no other call for this batch
--          follows: until then the batch stays listed, so that a death between two calls strands nobody),
--          dead_max_length, then per job:
--          local id, token, client, ending, value; ending: 'state attempt' or 'state attempt number', where state
--          is succeeded, failed or expired and the number is the time to live of this job instead of the default;
--          or state is retry and the number says in how many ms the job is due again
-- Returns: count of jobs where every outcome was written; else a code per job:
--          0 written, 1 replay (this batch wrote it before), 2 final (something else did), 3 moved,
--          4 the record's key holds something else
-- Atomic because: a result without its acknowledgement runs twice, an acknowledgement without its result is
--          a lost job. The fence: only where record.entry is this very entry is anything written; a zombie
--          finds another token there (moved), or none (final).
-- A job that failed leaves a dead letter; one that is to be retried waits in its record for its time.
-- @include base
-- @include backlog
-- @include wake
-- @include reply
-- @include finish
-- @include move
-- @include park
-- @include dead
local worker, batch, reason, batch_size, started_ms, default_ttl_ms, close =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7] == '1'
local dead_max_length = ARGV[8]
local WRITTEN, REPLAY, FINAL, MOVED, WRONG_TYPE = 0, 1, 2, 3, 4
local FIRST, WIDTH, CHUNK = 8, 5, 1000
local count = (#ARGV - FIRST) / WIDTH
local codes, lost, ids = {}, 0, {}
local kept = {}  -- by job that failed or is retried: the fields of its entry, which goes below
local soonest_ms = nil

-- Most jobs of a batch end alike, so each kind of ending is taken apart once.
local endings = {}
local function ending_of(text)
  local ending = endings[text]
  if not ending then
    local state, attempt, number = text:match('^(%a+) (%d+) ?(%d*)$')
    ending = {state = state, attempt = attempt, ttl_ms = number == '' and default_ttl_ms or number,
      carries = state == 'failed' or state == 'retry'}
    endings[text] = ending
  end
  return ending
end

-- For an outcome that cannot simply be written: the code, and whether the entry goes. It goes also where it does
-- not stand for the job any more: it is gone already then, or a stray copy that nobody else would acknowledge.
local function code_of(id, token, live)
  if type(live) == 'table' then return WRONG_TYPE, true end
  local known = redis.call('HMGET', job_key(id), 'state', 'batch', 'reason')
  -- No record: it was deleted, and this entry still stands for the job while it is pending.
  if not known[1] then
    local lane, entry_id = split_token(token)
    local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1)
    local ours = not pending.err and #pending > 0
    return ours and WRITTEN or FINAL, ours
  end
  -- Where a takeover failed the job in this batch's name, the record has no reason.
  if known[2] == batch and known[3] == reason then return REPLAY, true end
  return live == '' and FINAL or MOVED, true
end

-- 1. Look only.
for i = 1, count do
  local a = FIRST + (i - 1) * WIDTH
  local id, token = ARGV[a + 1], ARGV[a + 2]
  local live = redis.pcall('HGET', job_key(id), 'entry')
  local code, goes = WRITTEN, true
  if live ~= token then code, goes = code_of(id, token, live) end
  codes[i] = code
  if goes then
    local colon = token:find(':', 1, true)
    local lane = token:sub(1, colon - 1)
    local entries = ids[lane]
    if not entries then
      entries = {}
      ids[lane] = entries
    end
    entries[#entries + 1] = token:sub(colon + 1)
    if code == WRITTEN and ending_of(ARGV[a + 4]).carries then
      local fields, flat = read_entry(lane, token:sub(colon + 1))
      kept[i] = {fields = fields or {}, flat = flat or {}}
    end
  end
  if code ~= WRITTEN then lost = lost + 1 end
end

-- 2. Free first (acknowledge, delete), so that a full server still drains; then write.
for lane, entries in pairs(ids) do
  for from = 1, #entries, CHUNK do
    local upto = math.min(from + CHUNK - 1, #entries)
    redis.call('XACK', lane_key(lane), GROUP, unpack(entries, from, upto))
    redis.call('XDEL', lane_key(lane), unpack(entries, from, upto))
  end
end
if close then redis.call('HDEL', Q .. 'batches:' .. worker, batch) end
for i = 1, count do
  local a = FIRST + (i - 1) * WIDTH
  local id, client, value, code = ARGV[a + 1], ARGV[a + 3], ARGV[a + 5], codes[i]
  if code == WRITTEN then
    local ending, facts = ending_of(ARGV[a + 4]), kept[i]
    local state, ttl_ms = ending.state, ending.ttl_ms
    -- Somebody deleted its entry, so there is nothing to run again; or broke the key that it would wait in.
    if state == 'retry' and (#facts.flat == 0 or not can_park()) then
      state, ttl_ms = 'failed', default_ttl_ms
    end
    if state == 'retry' then
      local due_ms = now_ms + tonumber(ending.ttl_ms)
      park(id, renewed(ARGV[a + 2]:match('%d+%-%d+$'), facts.fields, facts.flat, 1, 0, 1), due_ms,
        'last_error', value, 'attempt', ending.attempt, 'started_ms', started_ms, 'worker', worker,
        'batch', batch, 'batch_size', batch_size, 'reason', reason)
      soonest_ms = math.min(soonest_ms or due_ms, due_ms)
    else
      if facts then
        bury(facts.flat, {token = ARGV[a + 2], id = id, error = value, worker = worker, batch = batch,
          attempt = ending.attempt}, dead_max_length)
      end
      finish(id, client, state, value, ttl_ms, 'attempt', ending.attempt, 'started_ms', started_ms,
        'worker', worker, 'batch', batch, 'batch_size', batch_size, 'reason', reason)
    end
  elseif code == WRONG_TYPE then
    announce(client, id, ending_of(ARGV[a + 4]).state, value, false)
  end
end
send_replies()
if soonest_ms then wake_for(soonest_ms) end
if lost == 0 then return count end
return codes

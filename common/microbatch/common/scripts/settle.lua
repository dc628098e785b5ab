-- settle: write the outcomes of a batch, acknowledge and delete its entries, tell the clients.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, reason, batch_size, started_ms, ttl_ms, close (1 where no other call for this batch
--          follows: until then the batch stays listed, so that a death between two calls strands nobody),
--          then per job:
--          local id, token, client, ending, value; ending: 'state attempt' or 'state attempt ttl_ms', where state
--          is succeeded or failed, and the time to live stands for this job instead of the default
-- Returns: count of jobs where every outcome was written; else a code per job:
--          0 written, 1 replay (this batch wrote it before), 2 final (something else did), 3 moved,
--          4 the record's key holds something else
-- Atomic because: a result without its acknowledgement runs twice, an acknowledgement without its result is
--          a lost job. The fence: only where record.entry is this very entry is anything written; a zombie
--          finds another token there (moved), or none (final).
-- @include base
-- @include reply
-- @include finish
local worker, batch, reason, batch_size, started_ms, default_ttl_ms, close =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7] == '1'
local WRITTEN, REPLAY, FINAL, MOVED, WRONG_TYPE = 0, 1, 2, 3, 4
local FIRST, WIDTH, CHUNK = 7, 5, 1000
local count = (#ARGV - FIRST) / WIDTH
local codes, lost, ids = {}, 0, {}

-- Most jobs of a batch end alike, so each kind of ending is taken apart once.
local endings = {}
local function ending_of(text)
  local ending = endings[text]
  if not ending then
    local state, attempt, ttl_ms = text:match('^(%a+) (%d+) ?(%d*)$')
    ending = {state = state, attempt = attempt, ttl_ms = ttl_ms == '' and default_ttl_ms or ttl_ms}
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
  if live ~= '' then return MOVED, true end
  -- Where a takeover failed the job in this batch's name, the record has no reason.
  return known[2] == batch and known[3] == reason and REPLAY or FINAL, true
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
    local ending = ending_of(ARGV[a + 4])
    finish(id, client, ending.state, value, ending.ttl_ms, 'attempt', ending.attempt, 'started_ms', started_ms,
      'worker', worker, 'batch', batch, 'batch_size', batch_size, 'reason', reason)
  elseif code == WRONG_TYPE then
    announce(client, id, ending_of(ARGV[a + 4]).state, value, false)
  end
end
send_replies()
if lost == 0 then return count end
return codes

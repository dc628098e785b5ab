-- lane_jobs: a page of the jobs that wait or run, lane by lane, each in its order: the running ones are the older.
--
-- Keys:    the queue's prefix
-- Args:    which ('queued', 'running', or '' for both), behind which token of the first lane (or ''), entries written
--          before which moment (ms) are passed over (0: none), how many entries to look at, lanes
-- Returns: {now_ms, the token behind which the next page begins ('' where all lanes are done), jobs}; a job is
--          {token, consumer ('' where nobody holds it), batch, batch_size, claimed_ms, payload bytes,
--          fault ('', 'garbage', 'foreign' or 'unknown': no job, and what its record is), fields as a flat list}
-- Atomic because: it only reads, and who holds an entry, in which batch, is told as of one moment. A page must not hold
--          the server up: the script counts entries and bytes as it goes.
-- An entry that is not the live one of its record (cancelled, not yet cleared away) is no job any more.
-- @include base
-- @include backlog
-- @include lanes
-- @include told
local which, after, not_before_ms, room = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST_LANE, PAGE_BYTES, AT_ONCE = 5, 1048576, 16
local NO_BATCH, NOBODY = {'', '0', '0'}, {}
local jobs, bytes, last = {}, 0, ''
local held_by = {}

-- What a worker holds: {batch, size, claimed_ms} by token.
local function held(consumer)
  if held_by[consumer] then return held_by[consumer] end
  local found = {}
  local listed = redis.pcall('HGETALL', Q .. 'batches:' .. consumer)
  for i = 1, listed.err and 0 or #listed, 2 do
    local claimed_ms, tokens = listed[i + 1]:match('^(%d+) %w+ (.+)$')
    local _, spaces = (tokens or ''):gsub(' ', '')
    for token in (tokens or ''):gmatch('%S+') do found[token] = {listed[i], int(spaces + 1), claimed_ms} end
  end
  held_by[consumer] = found
  return found
end

local function fault_of(id, token)
  if not id then return 'garbage' end
  local record = redis.pcall('HMGET', job_key(id), 'state', 'entry')
  if record.err then return 'foreign' end
  if not record[1] then return 'unknown' end
  return record[2] == token and '' or nil
end

local function tell(lane, entry, consumer)
  local token = lane .. ':' .. entry[1]
  local kept, size, id = told_fields(entry[2])
  last, room, bytes = token, room - 1, bytes + size
  for _, field in ipairs(kept) do bytes = bytes + #field end
  if not entry[2][1] or which == 'queued' and consumer ~= '' then return end
  local fault = fault_of(id, token)
  if not fault then return end
  local batch = consumer ~= '' and held(consumer)[token] or NO_BATCH
  jobs[#jobs + 1] = {token, consumer, batch[1], batch[2], batch[3], size, fault, kept}
end

-- Entry id -> consumer, of the entries in a range.
local function holders(lane, first, final, count)
  local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, first, final, count)
  local found, ids = {}, {}
  for _, row in ipairs(pending.err and {} or pending) do
    found[row[1]] = row[2]
    ids[#ids + 1] = row[1]
  end
  return found, ids
end

local function next_entries(lane, from, delivered)
  local count = math.min(AT_ONCE, room)
  if which ~= 'running' then
    local entries = redis.call('XRANGE', lane_key(lane), from, '+', 'COUNT', count)
    if not entries[1] or not delivered or is_later(entries[1][1], delivered) then return entries, NOBODY end
    return entries, (holders(lane, entries[1][1], entries[#entries][1], count))
  end
  local held_here, ids = holders(lane, from, '+', count)
  local entries = {}
  for i, entry_id in ipairs(ids) do
    -- One that somebody deleted while it was held has nothing to tell.
    entries[i] = redis.call('XRANGE', lane_key(lane), entry_id, entry_id)[1] or {entry_id, {}}
  end
  return entries, held_here
end

-- Whether the lane is done.
local function walk(lane, behind)
  if type(redis.pcall('XLEN', lane_key(lane))) ~= 'number' then return true end  -- something else took its place
  local _, delivered = (is_side(lane) and side_backlog or backlog)(lane)
  if which == 'queued' and delivered and (not behind or is_later(delivered, behind)) then behind = delivered end
  local from = behind and '(' .. behind or '-'
  if not_before_ms > (behind and entry_ms(behind) or 0) then from = int(not_before_ms) end
  while room > 0 and bytes < PAGE_BYTES do
    local entries, consumers = next_entries(lane, from, delivered)
    if not entries[1] then return true end
    for _, entry in ipairs(entries) do
      from = '(' .. entry[1]
      tell(lane, entry, consumers[entry[1]] or '')
      if bytes >= PAGE_BYTES then break end
    end
  end
  return false
end

for i = FIRST_LANE, #ARGV do
  local lane, entry_id = split_token(after)
  if not walk(ARGV[i], lane == ARGV[i] and entry_id or nil) then return {int(now_ms), last, jobs} end
end
return {int(now_ms), '', jobs}

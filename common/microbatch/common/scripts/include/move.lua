-- move: give a job a new stream entry in another lane, in one step. Needs base, lanes and history.
-- The entry id is the fence: whoever holds the old entry finds that record.entry names another one and
-- writes nothing. `attempt` counts the runs that began, `crashes` the workers that died running it alone,
-- `failures` the runs that failed and were to be repeated.
-- Returns an entry's fields by name and as a flat list, nil where it is gone; then whether the lane's key holds
-- something else.
local function read_entry(lane, entry_id)
  local found = redis.pcall('XRANGE', lane_key(lane), entry_id, entry_id)
  if found.err or not found[1] then return nil, nil, found.err ~= nil end
  local fields = {}
  for i = 1, #found[1][2], 2 do fields[found[1][2][i]] = found[1][2][i + 1] end
  return fields, found[1][2]
end

local left_lanes = {}

-- Frees before it writes, so that it works on a full server too.
local function drop_entry(lane, entry_id)
  local acknowledged = redis.call('XACK', lane_key(lane), GROUP, entry_id)
  local gone = redis.call('XDEL', lane_key(lane), entry_id)
  if is_side(lane) then
    count_out(lane, gone, gone - acknowledged)  -- where a failover undid its claim, it waited
    left_lanes[lane] = true
  end
end

-- What `worker` had in side lanes is gone from there.
local function tidy_left_lanes(worker)
  for lane in pairs(left_lanes) do tidy_lane(lane, worker) end
end

-- How long the outcome is kept: as the entry says, else as the caller says.
local TTL_DIGITS = 17
local function ttl_of(fields, default_ttl_ms)
  local ttl_ms = (fields['ttl_ms'] or ''):match('^%d+$')
  if not ttl_ms or #ttl_ms > TTL_DIGITS then return default_ttl_ms end
  return ttl_ms
end

local CARRIED_LIMIT = 64  -- a foreign entry with thousands of fields must not break `unpack` and block recovery
local CARRIED = {attempt = true, crashes = true, failures = true, enqueued_ms = true}

-- The fields of a job's next entry, as a flat list.
local function renewed(entry_id, fields, flat, runs, crashes, failures)
  local entry = {}
  for i = 1, math.min(#flat, CARRIED_LIMIT), 2 do
    if not CARRIED[flat[i]] then
      entry[#entry + 1] = flat[i]
      entry[#entry + 1] = flat[i + 1]
    end
  end
  for _, pair in ipairs({
    {'attempt', int((tonumber(fields['attempt']) or 0) + runs)},
    {'crashes', int((tonumber(fields['crashes']) or 0) + crashes)},
    {'failures', int((tonumber(fields['failures']) or 0) + failures)},
    {'enqueued_ms', fields['enqueued_ms'] or int(math.min(entry_ms(entry_id), now_ms))},
  }) do
    entry[#entry + 1] = pair[1]
    entry[#entry + 1] = pair[2]
  end
  return entry
end

-- The words that name a batch (see the record's field `batch`), from the line that a worker's list has for it.
local function facts_of(batch, worker, listed)
  local claimed_ms, reason, tokens = listed:match('^(%d+) (%w+) (.+)$')
  if not claimed_ms then return nil end
  if reason == 'alone' or reason == 'chunked' then reason = '-' end
  local _, spaces = tokens:gsub(' ', '')
  return batch .. ' ' .. int(spaces + 1) .. ' ' .. reason .. ' ' .. claimed_ms .. ' ' .. worker
end

-- `why` and `facts` are for the job's history. Returns the new token, or nil where the job is no longer this
-- entry's (moved or final).
local function move(lane, entry_id, to_lane, runs, crashes, why, facts)
  local fields, flat, is_foreign = read_entry(lane, entry_id)
  if not fields then
    -- Deleted by somebody, yet still pending: it would keep its consumer for ever.
    if not is_foreign then drop_entry(lane, entry_id) end
    return nil
  end
  local id = fields['id'] or ''
  local record = job_key(id)
  local live = redis.pcall('HGET', record, 'entry')
  local recorded = type(live) == 'string'  -- no record, or not a hash: a foreign entry, for the dead stream
  if recorded and live ~= lane .. ':' .. entry_id then
    drop_entry(lane, entry_id)
    return nil
  end
  local entry = renewed(entry_id, fields, flat, runs, crashes, 0)
  drop_entry(lane, entry_id)
  local moved = add_entry(to_lane == 'front' and front_of(fields) or to_lane, entry)
  if recorded then
    local attempt = int((tonumber(fields['attempt']) or 0) + 1)
    redis.call('HSET', record, 'entry', moved, 'history', lengthened(history_of(id), happening(why, attempt, facts)))
    tell_event(id, why, attempt, facts)
  end
  return moved
end

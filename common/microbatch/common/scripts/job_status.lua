-- job_status: all that is known about one job, its record and its entry in one look.
--
-- Keys:    the queue's prefix
-- Args:    local id, JobLost error (msgpack), ttl_ms
-- Returns: {} where there is no record; {'foreign'} where the key holds something else; else
--          {record as a flat list without its log, consumer, batch, batch_size, claimed_ms, attempt, reason}
--          consumer is '' where no worker holds the job; attempt counts the runs that began
-- Atomic because: "running" is derived from the record and the entry together; between two reads the job may
--          move. A record that is not final and has no entry becomes `failed` with JobLost; one whose deadline
--          passed before it was started becomes `expired`. Who may not write is told so, and nothing is written.
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
-- @include carried
-- @include overdue
local id, lost_error, ttl_ms = ARGV[1], ARGV[2], ARGV[3]
local record = redis.pcall('HGETALL', job_key(id))
if record.err then return {'foreign'} end
if #record == 0 then return {} end
local facts = {}

local function told(all)  -- a log is long, and has a script of its own
  local kept = {}
  for i = 1, #all, 2 do
    if all[i] ~= 'log' then
      kept[#kept + 1] = all[i]
      kept[#kept + 1] = all[i + 1]
    end
  end
  return kept
end

record = told(record)
for i = 1, #record, 2 do facts[record[i]] = record[i + 1] end
local ended, value, is_written =
  conclude(id, facts['state'], facts['entry'] or '', facts['expires_ms'], lost_error, ttl_ms)
if ended then
  send_replies()
  if is_written then
    record = told(redis.call('HGETALL', job_key(id)))
  else  -- whoever asked may only look; of a field that comes twice the last one counts
    for _, word in ipairs({'state', ended, 'error', value}) do record[#record + 1] = word end
  end
  return {record, '', '', '0', '0', facts['attempt'] or '0', ''}
end
if facts['state'] ~= 'queued' then return {record, '', '', '0', '0', facts['attempt'] or '0', ''} end

local lane, entry_id = split_token(facts['entry'])
local fields = read_entry(lane, entry_id)
local attempt = tonumber(fields['attempt']) or 0
local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1)
if pending.err or #pending == 0 then return {record, '', '', '0', '0', int(attempt), ''} end

local consumer = pending[1][2]
local held = redis.call('HGETALL', Q .. 'batches:' .. consumer)
for i = 1, #held, 2 do
  local claimed_ms, reason, tokens = held[i + 1]:match('^(%d+) (%w+) (.+)$')
  if (' ' .. tokens .. ' '):find(' ' .. facts['entry'] .. ' ', 1, true) then
    local _, spaces = tokens:gsub(' ', '')
    return {record, consumer, held[i], int(spaces + 1), claimed_ms, int(attempt + 1), reason}
  end
end
return {record, consumer, '', '0', '0', int(attempt + 1), ''}

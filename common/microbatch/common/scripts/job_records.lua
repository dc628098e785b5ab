-- job_records: what the records of some finished jobs say in short.
--
-- Keys:    the queue's prefix
-- Args:    the states that are meant, with spaces between; local ids
-- Returns: {now_ms, records}; a record is {id, state, enqueued_ms, finished_ms, attempt, batch, error (its first bytes),
--          run}, with '' for what it does not say. Jobs in other states, that are not finished, and what is no record, are left out.
-- Atomic because: it only reads; many in one call, each as of one moment.
-- @include base
local ERROR_LIMIT_BYTES = 4096
local FIELDS = {'state', 'enqueued_ms', 'finished_ms', 'attempt', 'batch', 'error', 'run'}
local BATCH_AT, ALL = 6, {unpack(FIELDS)}  -- where `batch` stands in a row; what is read
ALL[#ALL + 1] = 'ran'  -- the other words of `batch`
local FINAL = {succeeded = true, failed = true, cancelled = true, expired = true}
local records = {}

local meant = {}
for state in ARGV[1]:gmatch('%S+') do meant[state] = FINAL[state] end

for i = 2, #ARGV do
  local state = redis.pcall('HGET', job_key(ARGV[i]), 'state')  -- most are often not meant: ask for less
  if type(state) == 'string' and meant[state] then
    local found = redis.call('HMGET', job_key(ARGV[i]), unpack(ALL))
    local record = {ARGV[i]}
    for j = 1, #FIELDS do record[j + 1] = (found[j] or ''):sub(1, ERROR_LIMIT_BYTES) end
    if found[#ALL] and record[BATCH_AT]:match('^%S+ %S+ %S+$') then
      record[BATCH_AT] = record[BATCH_AT] .. ' ' .. found[#ALL]
    end
    records[#records + 1] = record
  end
end
return {int(now_ms), records}

-- job_records: what the records of some finished jobs say in short.
--
-- Keys:    the queue's prefix
-- Args:    local ids
-- Returns: {now_ms, records}; a record is {id, state, enqueued_ms, finished_ms, attempt, batch, error (its first bytes),
--          run}, with '' for what it does not say. Jobs that are not finished, and what is no record, are left out.
-- Atomic because: it only reads; many in one call, each as of one moment.
-- @include base
local ERROR_LIMIT_BYTES = 4096
local FIELDS = {'state', 'enqueued_ms', 'finished_ms', 'attempt', 'batch', 'error', 'run'}
local FINAL = {succeeded = true, failed = true, cancelled = true, expired = true}
local records = {}

for i = 1, #ARGV do
  local found = redis.pcall('HMGET', job_key(ARGV[i]), unpack(FIELDS))
  if not found.err and FINAL[found[1]] then
    local record = {ARGV[i]}
    for j = 1, #FIELDS do record[j + 1] = (found[j] or ''):sub(1, ERROR_LIMIT_BYTES) end
    records[#records + 1] = record
  end
end
return {int(now_ms), records}

-- job_log: the log of a job, as far as it is kept.
--
-- Keys:    the queue's prefix
-- Args:    local id, how many lines the caller knows
-- Returns: {} where there is no record; {'foreign'} where the key holds something else; else
--          {lines that there were, lines that are kept, log: '' where the caller knows all of them}
-- Atomic because: the numbers belong to this very log.
-- @include base
local record = redis.pcall('HMGET', job_key(ARGV[1]), 'state', 'log', 'log_facts')
if record.err then return {'foreign'} end
if not record[1] then return {} end
local total, kept = (record[3] or ''):match('^(%d+) (%d+) ')
if not total or tonumber(total) <= tonumber(ARGV[2]) then return {total or '0', '0', ''} end
return {total, kept, record[2] or ''}

-- run_now: scheduled jobs are due at once.
--
-- Keys:    the queue's prefix
-- Args:    local ids
-- Returns: per job 'due'; or its state where it is not scheduled, 'unknown' where there is no record, 'foreign' where
--          the record's key, or the set of scheduled jobs, holds something else
-- Atomic because: a job that is promoted or cancelled at the same moment must not come back into the set.
-- The next claim promotes them, as when their time had come by itself.
-- @include base
-- @include backlog
-- @include wake
local SET = Q .. 'scheduled'
local answers, due = {}, 0
local is_ours = type(redis.pcall('ZCARD', SET)) == 'number'

local function hasten(id)
  local record = redis.pcall('HMGET', job_key(id), 'state')
  if record.err or not is_ours then return 'foreign' end
  if not record[1] then return 'unknown' end
  if record[1] ~= 'scheduled' then return record[1] end
  call('PERSIST', job_key(id))  -- it has no time to live; users who are no operators may not, and are refused here
  local score = redis.call('ZSCORE', SET, id)
  if score and tonumber(score) <= now_ms then return 'due' end  -- it keeps its place among those that are
  redis.call('ZREM', SET, id)  -- frees first, so that a full server lets it through
  redis.call('ZADD', SET, int(now_ms), id)
  redis.call('HSET', job_key(id), 'due_ms', int(now_ms))
  due = due + 1
  return 'due'
end

for i = 1, #ARGV do answers[i] = hasten(ARGV[i]) end
if due > 0 then wake(true) end
return answers

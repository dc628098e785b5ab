-- run_alone: from now on this worker runs one suspect and nothing else: should it die, the suspect did it.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id
-- Returns: 1, or 0 where the worker does not hold that batch any more: it must not be run
-- Atomic because: between a look at the batch and the mark it may be taken over.
-- Only a death under this mark counts as the job's crash. A worker may hold further batches, claimed and waiting
-- for their turn, or run those of other queues otherwise: their jobs must never be blamed.
-- @include base
local batches, batch = Q .. 'batches:' .. ARGV[1], ARGV[2]
local held = redis.call('HGET', batches, batch)
if not held then return 0 end
local claimed_ms, tokens = held:match('^(%d+) %w+ (.+)$')
redis.call('HDEL', batches, batch)  -- frees first, so that a full server lets it through
redis.call('HSET', batches, batch, claimed_ms .. ' alone ' .. tokens)
return 1

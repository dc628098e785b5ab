-- listen: say that somebody listens to what happens to jobs, for a while.
--
-- Keys:    the queue's prefix
-- Args:    lease_ms, then local ids, or '*' for all jobs of the queue
-- Returns: 1
-- Atomic because: the key lives as long as its longest lease, and its leases change together.
-- While the key is there, scripts tell what they do; nobody clears a lease, because another client may have the same.
-- It writes only where somebody wants to watch, so it is no script that a full server has to let through.
-- @include base
local listeners, lease_ms, SAMPLES = Q .. 'listeners', tonumber(ARGV[1]), 4
local others = redis.pcall('HRANDFIELD', listeners, SAMPLES, 'WITHVALUES')
if type(others) ~= 'table' or others.err then others = {} end
for i = 1, #others, 2 do
  if (tonumber(others[i + 1]) or 0) <= now_ms then redis.call('HDEL', listeners, others[i]) end
end
for i = 2, #ARGV do redis.call('HSET', listeners, ARGV[i], int(now_ms + lease_ms)) end
if redis.call('PTTL', listeners) < lease_ms then redis.call('PEXPIRE', listeners, int(lease_ms)) end
return 1

-- acknowledge: a worker answers an order.
--
-- Keys:    the queue's prefix
-- Args:    worker, order id, the answer, for how long it is kept (ms)
-- Returns: 1; 0 where it has answered this order before: the first answer stays
-- Atomic because: an order goes in the step in which its answer is there.
-- @include base
local worker, id, answer, keep_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = Q .. 'acks:' .. id
redis.pcall('HDEL', Q .. 'orders:' .. worker, id)
local count = redis.pcall('HLEN', key)
if type(count) ~= 'number' then redis.call('DEL', key) end  -- something else wrote there
local is_new = redis.call('HSETNX', key, worker, answer)
if is_new == 1 then redis.call('PEXPIRE', key, keep_ms) end
return is_new

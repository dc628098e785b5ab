-- join: a worker arrives: it is alive, and the queue's lane and limits are known.
--
-- Keys:    the queue's prefix
-- Args:    worker, max_batch_size, max_wait_ms
-- Returns: {previous max_batch_size, previous max_wait_ms}, each '' where none was declared, and both as an operator
--          limits them, each '' where nobody does
-- Atomic because: two workers that start at once must each see whom they differ from.
-- @include base
-- @include foreign
local worker, max_batch_size, max_wait_ms = ARGV[1], ARGV[2], ARGV[3]
set_foreign_aside()
local previous = redis.call('HMGET', Q .. 'settings', 'max_batch_size', 'max_wait_ms')
redis.call('ZREM', Q .. 'idle', worker)
ensure_lane('main')
redis.call('ZADD', Q .. 'workers', int(now_ms), worker)
redis.call('HSET', Q .. 'settings', 'max_batch_size', max_batch_size, 'max_wait_ms', max_wait_ms)
local limits = redis.pcall('HMGET', Q .. 'limits', 'max_batch_size', 'max_wait_ms')
return {previous[1] or '', previous[2] or '', limits[1] or '', limits[2] or ''}

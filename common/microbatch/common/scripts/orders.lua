-- orders: what a worker was ordered to do, for one that may not beat because its event loop is stuck.
--
-- Keys:    the queue's prefix
-- Args:    worker
-- Returns: a flat list of order ids and texts, the first given at the front
--          Where its jobs were taken over it is noted that it lives.
-- Atomic because: what is too late or no order goes in the same look. The heartbeat has the same list in its reply.
-- @include base
-- @include orders
-- @include lost
see_lost(ARGV[1])
return orders_of(ARGV[1])

-- orders: what a worker was ordered to do, for one that may not beat because its event loop is stuck.
--
-- Keys:    the queue's prefix
-- Args:    worker
-- Returns: a flat list of order ids and texts, the first given at the front
-- Atomic because: what is too late or no order goes in the same look. The heartbeat has the same list in its reply.
-- @include base
-- @include orders
return orders_of(ARGV[1])

-- redis_time: what the queue's server takes the time to be.
--
-- Keys:    the queue's prefix
-- Args:    none
-- Returns: milliseconds since 1970
-- Atomic because: it is one look. A script, so that a cluster asks the node that will judge by this clock.
-- @include base
return now_ms

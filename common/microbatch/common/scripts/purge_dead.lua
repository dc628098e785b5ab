-- purge_dead: delete dead letters.
--
-- Keys:    the queue's prefix
-- Args:    ids of letters; none: the oldest ones, at most CHUNK a call
-- Returns: how many were deleted; with no ids, 0 means that none is left
-- Atomic because: what is deleted is what is counted.
-- @include base
local CHUNK = 1000
if #ARGV > 0 then return redis.call('XDEL', Q .. 'dead', unpack(ARGV)) end
local length = redis.call('XLEN', Q .. 'dead')
if length == 0 then return 0 end
return redis.call('XTRIM', Q .. 'dead', 'MAXLEN', int(math.max(0, length - CHUNK)))

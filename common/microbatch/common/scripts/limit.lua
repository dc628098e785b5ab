-- limit: change what an operator allows a queue.
--
-- Keys:    the queue's prefix
-- Args:    pairs of a limit's name and its value; '' takes it away
-- Returns: how many limits there are
-- Atomic because: workers must see the new limits together, and look whether they allow more.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
local key = Q .. 'limits'
local TYPES = redis.call('TYPE', key)
local kind = type(TYPES) == 'table' and TYPES.ok or TYPES
if kind ~= 'hash' and kind ~= 'none' then return redis.error_reply('WRONGTYPE the limits are something else') end
for i = 1, #ARGV, 2 do redis.call('HDEL', key, ARGV[i]) end  -- frees first
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
end
wake(true)
return redis.call('HLEN', key)

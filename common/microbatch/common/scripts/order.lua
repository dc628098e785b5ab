-- order: tell workers of the queue to do something; each is handed the order in the reply to its next heartbeat.
--
-- Keys:    the queue's prefix
-- Args:    order id (letters and digits), its text, for how long it may be carried out (ms), then the workers
-- Returns: for each worker 1: it will be handed the order, or has answered; 0: no such worker here;
--          -1: it has too many orders already
-- Atomic because: an order that was answered must not be given again.
-- @include base
-- @include orders
local id, text, ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local value = int(now_ms) .. ' ' .. int(now_ms + ttl_ms) .. ' ' .. text
local codes = {}
for i = 4, #ARGV do
  local worker = ARGV[i]
  local key = Q .. 'orders:' .. worker
  local known = redis.pcall('ZSCORE', Q .. 'workers', worker)
  local answered = redis.pcall('HGET', Q .. 'acks:' .. id, worker)
  if type(answered) == 'string' then
    codes[#codes + 1] = 1
  elseif type(known) ~= 'string' and type(redis.pcall('HGET', Q .. 'lost', worker)) ~= 'string' then
    codes[#codes + 1] = 0
  elseif order_count(key) >= MOST_ORDERS and not redis.call('HGET', key, id) then
    codes[#codes + 1] = -1
  else
    redis.call('HDEL', key, '-')  -- nothing is called so: a first write that needs no memory, for a full server
    if redis.call('HSETNX', key, id, value) == 1 and redis.call('PTTL', key) < ttl_ms then
      redis.call('PEXPIRE', key, int(ttl_ms))
    end
    redis.call('PUBLISH', Q .. 'wake:' .. worker, 'order')
    codes[#codes + 1] = 1
  end
end
return codes

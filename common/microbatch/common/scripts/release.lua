-- release: hand the jobs of a batch back to the queue, for any worker to take at once.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, runs (1 where the processor had begun, so that its attempt counts; else 0),
--          lane (front, where each batch key has its own; solo for suspects, which run alone next), crashes (1 where the process that ran this batch
--          of one has died; else 0)
-- Returns: {moved, left}  jobs that went back in this call, and jobs that wait for another call
-- Atomic because: a job leaves its old entry and gets its new one in one step, or two workers run it.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include move
local worker, batch, runs, to_lane, crashes = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local batches = Q .. 'batches:' .. worker
local CHUNK = 256

redis.call('ZREM', Q .. 'idle', worker)  -- also where it holds nothing: a submit must not give it this batch now
redis.call('DEL', Q .. 'offer:' .. worker)
local held = redis.call('HGET', batches, batch)
if not held then return {0, 0} end
local claimed_ms, listed = held:match('^(%d+) %w+ (.+)$')
local moved, left = 0, {}
local facts = facts_of(batch, worker, held)
local done = 0
for token in listed:gmatch('%S+') do
  if done < CHUNK then
    local lane, entry_id = split_token(token)
    if move(lane, entry_id, to_lane, runs, crashes, 'handed_back', facts) then moved = moved + 1 end
    done = done + 1
  else
    left[#left + 1] = token
  end
end
if #left > 0 then
  redis.call('HSET', batches, batch, claimed_ms .. ' chunked ' .. table.concat(left, ' '))
else
  redis.call('HDEL', batches, batch)
end
tidy_left_lanes(worker)
send_events()
if moved > 0 then wake(true) end
return {moved, #left}

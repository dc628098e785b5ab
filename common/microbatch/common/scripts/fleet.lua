-- fleet: the workers of a queue, and what each of them holds.
--
-- Keys:    the queue's prefix
-- Args:    how many at most: those that beat last
-- Returns: {now_ms, {worker, ms since its last beat, batches that it holds, jobs in them,
--           'idle', 'watching' (it waits for a batch to fill), '', or where its jobs were taken over 'stuck' (it asks for
--           orders) or 'lost', what it says about itself} ...}
-- Atomic because: what all of them hold at one moment adds up.
-- @include base
-- @include lost
local limit = tonumber(ARGV[1])
local result = {int(now_ms)}
local beats = redis.pcall('ZRANGE', Q .. 'workers', int(-limit), -1, 'WITHSCORES')
local watcher = redis.pcall('GET', Q .. 'watcher')
watcher = type(watcher) == 'string' and watcher:match('^%d+ (.+)$')

-- What somebody broke holds nothing of ours.
local function doing(worker)
  if worker == watcher then return 'watching' end
  return type(redis.pcall('ZSCORE', Q .. 'idle', worker)) == 'string' and 'idle' or ''
end

if not beats.err then
  for i = 1, #beats, 2 do
    local worker, beat_ms = beats[i], tonumber(beats[i + 1])
    local held = redis.pcall('HGETALL', Q .. 'batches:' .. worker)
    local batches, jobs = 0, 0
    if not held.err then
      for j = 2, #held, 2 do
        local _, words = held[j]:gsub('%S+', '')
        batches, jobs = batches + 1, jobs + words - 2
      end
    end
    local about = redis.pcall('HGET', Q .. 'about', worker)
    about = type(about) == 'string' and about or ''
    result[#result + 1] = {worker, int(now_ms - beat_ms), batches, jobs, doing(worker), about}
  end
end

local lost = redis.pcall('HGETALL', LOST)
for i = 1, lost.err and 0 or #lost, 2 do
  local beat_ms, seen_ms, about = read_lost(lost[i + 1])
  if beat_ms and seen_ms >= now_ms - LOST_MS then
    local state = seen_ms > now_ms - STUCK_MS and seen_ms > beat_ms and 'stuck' or 'lost'
    result[#result + 1] = {lost[i], int(now_ms - beat_ms), 0, 0, state, about}
  end
end
return result

-- lost: workers whose jobs were taken over, for whoever wonders where one has gone. Needs base.
-- The hash `lost` has, by worker, 'beat_ms seen_ms about': its last heartbeat, when it last asked for orders since
-- (one whose event loop is stuck does, for as long as its process lives), and what it said about itself. Who beats again,
-- or leaves, is lost no more. Bounded by time and number: nobody needs it to go on.
local LOST_MS, MOST_LOST, STUCK_MS = 600000, 64, 5000
local LOST = Q .. 'lost'

local function read_lost(value)
  local beat_ms, seen_ms, about = value:match('^(%d+) (%d+) ?(.*)$')
  return tonumber(beat_ms), tonumber(seen_ms), about
end

local function write_lost(worker, beat_ms, seen_ms, about)
  redis.pcall('HSET', LOST, worker, int(beat_ms) .. ' ' .. int(seen_ms) .. ' ' .. about)
  redis.pcall('PEXPIRE', LOST, int(LOST_MS))
end

local function note_lost(worker, beat_ms, about)
  local listed = redis.pcall('HGETALL', LOST)
  local count, oldest, oldest_ms = 0, nil, nil
  for i = 1, listed.err and 0 or #listed, 2 do
    local _, seen_ms = read_lost(listed[i + 1])
    if not seen_ms or seen_ms < now_ms - LOST_MS then
      redis.call('HDEL', LOST, listed[i])
    else
      count = count + 1
      if not oldest_ms or seen_ms < oldest_ms then oldest, oldest_ms = listed[i], seen_ms end
    end
  end
  if count >= MOST_LOST then redis.call('HDEL', LOST, oldest) end
  write_lost(worker, beat_ms, beat_ms, about)
end

-- A worker that is not to beat was heard of.
local function see_lost(worker)
  local value = redis.pcall('HGET', LOST, worker)
  local beat_ms, _, about = read_lost(type(value) == 'string' and value or '')
  if beat_ms then write_lost(worker, beat_ms, now_ms, about) end
end

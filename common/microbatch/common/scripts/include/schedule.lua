-- schedule: a schedule's own hash, and the jobs that were put ahead for its ticks. Needs base, backlog, wake and park.
-- `schedules` orders names by when a worker is to look at them; the hash `schedule:name` has the definition,
-- `last_ms` (up to there all ticks have been seen to), `ahead` (words "tick/local id" of jobs that were put) and
-- `paused`. Whoever changes a schedule raises its `revision`: a worker that has planned for an older one does nothing.
local NEVER = '9007199254740991'

local function schedule_key(name)
  return Q .. 'schedule:' .. name
end

-- Whether the job of a tick still waits for that tick: not promoted, and not a later attempt either.
local function waits_for_tick(tick, id)
  local record = redis.pcall('HMGET', job_key(id), 'state', 'due_ms', 'attempt')
  return not record.err and record[1] == 'scheduled' and record[2] == tick and not record[3]
end

local function ahead_of(name)
  local ticks = {}
  for tick, id in (redis.call('HGET', schedule_key(name), 'ahead') or ''):gmatch('(%d+)/(%S+)') do
    ticks[#ticks + 1] = {tick, id}
  end
  return ticks
end

-- The job was put ahead for nobody in particular, and is gone as if it had never been: its id is free for the same
-- tick of the schedule as it is now.
local function take_back(tick, id)
  if not waits_for_tick(tick, id) then return end
  redis.pcall('ZREM', Q .. 'scheduled', id)
  redis.call('DEL', job_key(id))
end

-- Takes back what is not due yet. What is due is the queue's.
local function take_back_ahead(name)
  for _, put in ipairs(ahead_of(name)) do
    if tonumber(put[1]) > now_ms then take_back(put[1], put[2]) end
  end
  redis.call('HDEL', schedule_key(name), 'ahead')
end

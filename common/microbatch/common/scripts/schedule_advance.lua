-- schedule_advance: put the jobs of a schedule's next ticks, and take back those of missed ones.
--
-- Keys:    the queue's prefix
-- Args:    name, revision, last_ms (both as they were read), the new last_ms, when to look again (ms; '' for never),
--          how many are taken back, then per job to take back: tick, local id; then per job to put:
--          tick, local id, headers, expires_ms or ''
-- Returns: 1, or 0 where another worker did it, or the schedule was changed, paused or removed,
--          or the queue drains
-- Atomic because: of all workers that plan for the same moment one puts the jobs; and that it has done so must be
--          known in the same step.
-- A tick's job waits in the queue's own schedule until its time, which is what makes it exact.
-- @include base
-- @include gate
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include schedule
local name, revision, seen_ms, last_ms, look_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local FIRST, OLD, NEW = 6, 2, 4
local OPTIONS = {ttl_ms = true, max_attempts = true, priority = true, batch_key = true}
local old = tonumber(ARGV[6])
local kept = redis.call('HMGET', schedule_key(name), 'revision', 'last_ms', 'paused', 'payload', 'digest', 'options')
if kept[1] ~= revision or kept[2] ~= seen_ms or kept[3] or not can_park() then return 0 end
if is_gated('draining') then return 0 end

local gone, words, soonest_ms = {}, {}, nil
for i = 1, old do
  local a = FIRST + (i - 1) * OLD
  take_back(ARGV[a + 1], ARGV[a + 2])
  gone[ARGV[a + 1]] = true
end
for _, put in ipairs(ahead_of(name)) do
  if not gone[put[1]] and waits_for_tick(put[1], put[2]) then words[#words + 1] = put[1] .. '/' .. put[2] end
end

local function put_job(tick, id, headers, expires_ms)
  if redis.call('EXISTS', job_key(id)) == 1 then return end
  local fields = {'id', id, 'client', '', 'payload', kept[4], 'headers', headers}
  for option, value in kept[6]:gmatch('([%a_]+)=([%w_.:-]+)') do
    if OPTIONS[option] then
      fields[#fields + 1] = option
      fields[#fields + 1] = value
    end
  end
  local more = {}
  if expires_ms ~= '' then
    fields[#fields + 1] = 'expires_ms'
    fields[#fields + 1] = expires_ms
    more = {'expires_ms', expires_ms}
  end
  fields[#fields + 1] = 'enqueued_ms'
  fields[#fields + 1] = int(math.max(now_ms, tonumber(tick)))
  redis.call('HSET', job_key(id), 'digest', kept[5], 'enqueued_ms', int(now_ms), unpack(more))
  park(id, fields, tonumber(tick))
  tell_event(id, 'scheduled', '0')
  soonest_ms = math.min(soonest_ms or tonumber(tick), tonumber(tick))
  words[#words + 1] = tick .. '/' .. id
end

for a = FIRST + old * OLD, #ARGV - 1, NEW do put_job(ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]) end
redis.call('HSET', schedule_key(name), 'last_ms', last_ms, 'ahead', table.concat(words, ' '))
redis.call('ZADD', Q .. 'schedules', look_ms == '' and NEVER or look_ms, name)
send_events()
if soonest_ms then
  ensure_lane('main')
  wake_for(soonest_ms)
end
return 1

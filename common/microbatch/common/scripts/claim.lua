-- claim: take one batch for a free slot, or say how long to wait for one.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, max_batch_size, max_wait_us, max_batch_bytes, terms, fill, hold_us
--          terms: '' or words name=number: starvation_ms (30000 where absent); bytes and cost, the budgets of a batch
--          fill, hold_us (absent: max_batch_size, no end): due when as many wait, at the end, or while others idle
-- Returns: {'batch', reason, claimed_ms, lane, plain, others, lane, plain, others ...}
--          plain: flat, in short: entry id, local id, client, payload, entry id ...; plain jobs on their first run
--          others: {entry id, fields} as XRANGE gives it; the first entry that is no such job, and all behind it
--          {'watch', wait_us}  nothing is due: this worker waits for the batch to fill, and looks again then
--          {'idle'}            nothing waits, or another worker watches, or the queue is paused
-- Atomic because: the batch forms here, over the whole queue; a worker that dies while it waits holds nothing.
--          Entries and the batch's name are stored in one step: the same batch id again returns the same
--          entries and reads nothing, so a lost reply loses no job.
-- @include base
-- @include gate
-- @include backlog
-- @include lanes
-- @include wake
-- @include idle
-- @include history
-- @include park
-- @include turns
-- @include allowance
local worker, batch = ARGV[1], ARGV[2]
local max_size, max_wait_us, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local fill, hold_us = tonumber(ARGV[7] or max_size), ARGV[8] and tonumber(ARGV[8])
local batches = Q .. 'batches:' .. worker
local LOOK_US = 1000000
local AHEAD_US = 5000  -- what this very call promotes may get an id after its `now`
local FIRST_READ = 16  -- then sizes are known, and a batch of large payloads stops near max_batch_bytes
local CLEARED_LIMIT = 256  -- a call clears no more tombstoned entries than this; the next one goes on

local function repeat_claim(held)
  local claimed_ms, reason, tokens = held:match('^(%d+) (%w+) (.+)$')
  local answer = {'batch', reason, tonumber(claimed_ms)}
  for token in tokens:gmatch('%S+') do
    local lane, entry_id = split_token(token)
    local found = redis.call('XRANGE', lane_key(lane), entry_id, entry_id)
    if found[1] then
      answer[#answer + 1] = lane
      answer[#answer + 1] = {}
      answer[#answer + 1] = found
    end
  end
  return answer
end

local held = redis.call('HGET', batches, batch)
if held then return repeat_claim(held) end

-- Paused: nothing leaves, and whoever is idle stays known, to be woken by the resumption.
local function stand_by()
  redis.call('SET', Q .. 'watcher', HOLD, 'PX', HOLD_MS)
  redis.call('ZADD', Q .. 'idle', int(now_ms), worker)
  return {'idle'}
end

redis.call('ZREM', Q .. 'idle', worker)  -- first write: it frees, so a full server still lets work leave

local tokens, bytes, answer = {}, 0, {'batch', '', now_ms}
-- One look at what is rare; each command costs a cold server more than all the Lua here.
local signs = redis.call('EXISTS', lane_key('solo'), lane_key('front'), Q .. 'tombstones', Q .. 'scheduled', LANES,
  Q .. 'limits', Q .. 'listeners', Q .. 'gate')
if signs > 0 and is_gated('paused') then return stand_by() end
if signs == 0 then listened = false elseif is_listened() then signs = signs - 1 end
local rare = signs > 0
local tombstones = rare and tombstone_count() or 0
if rare then
  promote_due()
  send_events()
end
local sided = rare and redis.call('EXISTS', LANES) == 1
local function said(name)
  return tonumber((ARGV[6] or ''):match('%f[%w]' .. name .. '=(%d+)'))
end
local terms = {max_wait_us = max_wait_us, starvation_ms = said('starvation_ms') or 30000, quantum = max_size}
local budget = {bytes = said('bytes') or math.huge, cost = said('cost') or math.huge}
local burden, rates = {jobs = 0, cost = 0, bytes = 0}, {}  -- what the batch has; the buckets that its cost is taken from
local room = max_size  -- the most jobs that limits leave
local limited = rare and redis.call('EXISTS', Q .. 'limits') == 1
local of_queue, of_key = limited and buckets_for('') or nil, nil
if of_queue and of_queue.cost_per_s then rates[1] = of_queue.cost_per_s end
local peeks = #rates > 0 or budget.bytes < math.huge or budget.cost < math.huge
-- @include intake
-- Take from a lane, and book it where lanes take turns.
local function draw(lane, room)
  local held_before = #tokens
  local failed = take(lane, room)
  local got = #tokens - held_before
  if is_side(lane) then
    if got > 0 then redis.call('HINCRBY', SIDE, 'waiting', int(-got)) else tidy_lane(lane, nil) end
  end
  if sided then book(lane, got, terms) end
  return failed
end

-- What may ride along, due or not.
local function fill_up(lane)
  if not sided then
    if lane ~= 'main' and #tokens < room then take('main', room - #tokens) end
    return
  end
  for _, mate in ipairs(mates_of(lane)) do
    if #tokens >= room or bytes >= max_bytes or burden.is_full then return end
    draw(mate, room - #tokens)
  end
end

-- What leaves is taken from the buckets of its queue and of its key.
local function pay()
  for _, buckets in ipairs({of_queue or {}, of_key or {}}) do
    for rate, bucket in pairs(buckets) do
      spend(bucket, rate == 'batches_per_s' and 1 or rate == 'jobs_per_s' and #tokens or burden.cost)
    end
  end
end

-- Called where somebody listens.
local function tell_claimed(reason)
  local facts = batch .. ' ' .. int(#tokens) .. ' ' .. reason .. ' ' .. int(now_ms) .. ' ' .. worker
  for i = 4, #answer, 3 do
    for at = 2, #answer[i + 1], 4 do tell_event(answer[i + 1][at], 'claimed', '1', facts) end
    for _, entry in ipairs(answer[i + 2]) do
      local fields = {}
      for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
      tell_event(fields['id'] or '', 'claimed', int((tonumber(fields['attempt']) or 0) + 1), facts)
    end
  end
end

local function close_batch(reason)
  answer[2] = reason
  if limited then pay() end
  redis.call('HSET', batches, batch, int(now_ms) .. ' ' .. reason .. ' ' .. table.concat(tokens, ' '))
  -- Whoever holds jobs can be found dead, also one that was taken over or has left and claims once more.
  redis.call('ZADD', Q .. 'workers', 'NX', int(now_ms), worker)
  if is_watched_by(worker) then redis.call('DEL', Q .. 'watcher') end
  if is_listened() then
    tell_claimed(reason)
    send_events()
  end
  return answer
end

-- What a claim leaves needs a worker too, due now or later.
local function wake_for_the_rest()
  if work_is_near() then wake(rare) end
end

local function close_main()
  local reason = 'wait'
  if #tokens >= max_size then
    reason = 'size'
  elseif bytes >= max_bytes or burden.is_full or #tokens >= room then
    reason = 'budget'
  end
  close_batch(reason)
  if not exhausted or rare then wake_for_the_rest() end
  return answer
end

local function watch_for(wait_us, threshold)
  redis.call('SET', Q .. 'watcher', int(threshold) .. ' ' .. worker, 'PX',
    int(math.ceil(wait_us / 1000) + tonumber(WAKE_LEASE_MS)))
  return {'watch', math.ceil(wait_us)}
end

local function go_idle()
  if cleared >= CLEARED_LIMIT then return {'watch', 0} end  -- there may be more behind them
  local mine, watcher = is_watched_by(worker)
  local soon_ms = rare and next_due_ms()
  if soon_ms and soon_ms < SOON_MS and (mine or not watcher) then return watch_for(soon_ms * 1000, 1) end
  if mine then redis.call('DEL', Q .. 'watcher') end
  redis.call('ZADD', Q .. 'idle', int(now_ms), worker)
  return {'idle'}
end

-- Limits leave nothing for that long: submits need not wake anybody before.
local NOBODY = 1000000000
local function stand_back(wait_us)
  local mine, watcher = is_watched_by(worker)
  if mine or not watcher then return watch_for(math.min(wait_us, LOOK_US), NOBODY) end
  return go_idle()
end

-- The limits of a key: a lane that has to wait for them is held, and nil is the answer.
local function room_of(lane)
  local _, key = rank_and_key(lane)
  of_key = limited and key and key ~= '' and buckets_for(key) or nil
  rates[1], rates[2] = of_queue and of_queue.cost_per_s, nil
  if not of_key then return room end
  rates[#rates + 1] = of_key.cost_per_s
  peeks = peeks or #rates > 0
  local wait_us, jobs = look_at(of_key)
  if wait_us == 0 then return math.min(room, jobs) end
  hold(lane, wait_us)
  return nil
end

-- The lane whose turn it is, filled up with what may ride with it; nil where nothing is due.
local TRIES = 16  -- a lane that is held, or that somebody emptied by hand, is passed over
local function take_turns(main)
  call_lanes(terms)
  local most = room
  for _ = 1, TRIES do
    local lane = next_lane(main)
    if not lane then return nil end
    room = most
    room = room_of(lane)
    if room then
      local failed = draw(lane, room)
      if failed then return failed end
    end
    if #tokens > 0 then
      fill_up(lane)
      if lane:sub(1, 6) ~= 'front/' then return close_main() end
      close_batch('recovery')
      wake_for_the_rest()
      return answer
    end
    if burden.wait_us and not burden.waits_for:find('@', 1, true) then return stand_back(burden.wait_us) end
    if burden.wait_us then hold(lane, burden.wait_us) end
    burden = {jobs = 0, cost = 0, bytes = 0}
    if lane == 'main' then main = nil end
  end
  return nil
end

if limited then
  if is_fleet_busy() then return go_idle() end
  local wait_us, jobs = look_at(of_queue)
  if wait_us > 0 then return stand_back(wait_us) end
  room = math.min(max_size, jobs)
end

-- 1. Suspects run alone.
if rare and redis.call('XLEN', lane_key('solo')) > 0 then
  local failed = take('solo', 1)
  if failed then return failed end
  if burden.wait_us then return stand_back(burden.wait_us) end
  if #tokens > 0 then
    close_batch('recovery')
    wake_for_the_rest()
    return answer
  end
end

-- 2. What was handed back or taken over has waited already; fresh jobs fill its batch up.
if rare and redis.call('XLEN', lane_key('front')) > 0 then
  local failed = take('front', room)
  if failed then return failed end
  if burden.wait_us then return stand_back(burden.wait_us) end
  if #tokens > 0 then
    fill_up('front')
    close_batch('recovery')
    wake_for_the_rest()
    return answer
  end
end

-- 3. New jobs: due when enough of them wait, or when the oldest has waited long enough. Where nothing has to
-- wait, whatever is there is due, and the read alone tells.
if max_wait_us == 0 and tombstones == 0 and not sided then
  local failed = take('main', room)
  if failed then return failed end
  if #tokens > 0 then return close_main() end
  if burden.wait_us then return stand_back(burden.wait_us) end
  return go_idle()
end
local waiting, delivered = backlog('main')
local oldest
while true do
  oldest = redis.call('XRANGE', lane_key('main'), delivered and '(' .. delivered or '-', '+', 'COUNT', 1)[1]
  if not oldest or tombstones == 0
    or redis.call('SISMEMBER', Q .. 'tombstones', 'main:' .. oldest[1]) == 0 then break end
  if cleared >= CLEARED_LIMIT then return go_idle() end
  local entries = read('main', 1)  -- exactly this one: a cancelled job must not make its followers due
  if entries.err then return entries end
  redis.call('SREM', Q .. 'tombstones', 'main:' .. oldest[1])
  drop('main', oldest[1])
  cleared = cleared + 1
  waiting, delivered = backlog('main')
  tombstones = tombstone_count()
end
-- Where every lane is read to its end, a tombstone that is left names an entry that somebody else deleted.
if tombstones > 0 and not oldest and waiting == 0 and backlog('front') == 0 and backlog('solo') == 0 then
  redis.call('DEL', Q .. 'tombstones')
end
local wait_us, main = nil, nil  -- until the main lane is due, or how it is due
if oldest then
  local age_us = now_us - entry_ms(oldest[1]) * 1000
  if age_us < 0 and age_us >= -AHEAD_US then age_us = 0 end
  local enough = waiting - tombstones >= fill or hold_us and somebody_is_idle()
  if enough or age_us >= max_wait_us or age_us < 0 then  -- an id in the future counts as due
    main = age_us >= terms.starvation_ms * 1000 and 'starved' or 'due'
  else
    wait_us = math.min(max_wait_us - age_us, hold_us or max_wait_us)
  end
end
if sided then
  local done = take_turns(main)
  if done then return done end
  local next_us = next_call_us(max_wait_us)
  if next_us then wait_us = math.min(wait_us or next_us, next_us) end
elseif main then
  local failed = take('main', room)
  if failed then return failed end
  if #tokens > 0 then return close_main() end
  if burden.wait_us then return stand_back(burden.wait_us) end
end
if wait_us then
  local mine, watcher = is_watched_by(worker)
  if mine or not watcher then
    local soon_ms = rare and next_due_ms()
    wait_us = math.min(wait_us, LOOK_US)
    return watch_for(soon_ms and math.min(wait_us, soon_ms * 1000) or wait_us, wait_us > max_wait_us and 1 or fill)
  end
end
return go_idle()

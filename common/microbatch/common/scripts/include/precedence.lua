-- precedence: what a claim takes before, beside or instead of new jobs of the main lane, and what limits leave of it.
-- It is the part of claim that queues of plain jobs never need, and sees all of claim's own state. Needs gate, lanes,
-- history, park, turns and allowance.
local function said(name)
  return tonumber(terms_said:match('%f[%w]' .. name .. '=(%d+)'))
end
local terms = {max_wait_us = max_wait_us, starvation_ms = said('starvation_ms') or 30000, quantum = max_size}
local budget = {bytes = said('bytes') or math.huge, cost = said('cost') or math.huge}
local rates = {}  -- the buckets that a batch's cost is taken from
local of_queue, of_key = nil, nil
peeks = budget.bytes < math.huge or budget.cost < math.huge
burden = {jobs = 0, cost = 0, bytes = 0}

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

-- Paused: nothing leaves, and whoever is idle stays known, to be woken by the resumption.
local function stand_by()
  redis.call('SET', Q .. 'watcher', HOLD, 'PX', HOLD_MS)
  redis.call('ZADD', Q .. 'idle', int(now_ms), worker)
  return {'idle'}
end

-- How many of the next `ask` jobs of a lane the batch may have.
local function affordable_now(lane, ask)
  return affordable(lane, ask, burden, budget, rates)
end

-- Milliseconds until a scheduled job is due, where that is soon.
local function due_soon_ms()
  local due_ms = next_due_ms()
  return due_ms and due_ms < SOON_MS and due_ms or nil
end

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
  send_events()
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

-- What goes before new jobs, as far as limits let it: the answer, or nil where there is none of it.
local function take_what_goes_first()
  if limited then
    if is_fleet_busy() then return go_idle() end
    of_queue = buckets_for('')
    if of_queue and of_queue.cost_per_s then rates[1] = of_queue.cost_per_s end
    peeks = peeks or #rates > 0
    local wait_us, jobs = look_at(of_queue)
    if wait_us > 0 then return stand_back(wait_us) end
    room = math.min(max_size, jobs)
  end

  -- 1. Suspects run alone.
  if redis.call('XLEN', lane_key('solo')) > 0 then
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
  if redis.call('XLEN', lane_key('front')) > 0 then
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
  return nil
end

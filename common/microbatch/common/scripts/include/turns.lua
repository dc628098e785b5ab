-- turns: which of the lanes that are due goes next, in amortised O(log n). Needs base and lanes. Only claim takes turns.
-- Round robin with deficits, in virtual time: a lane's turn is where it stands in line, and moves back by what it
-- was served, divided by its weight. `side.turn` is how far the line has come. A newcomer stands behind one full
-- batch of its own weight, so that leaving and coming back never pays; nobody saves turns while it has no work.
-- The highest priority that is due goes first; among its lanes, and those that starve, the turn decides.
local LANES_PER_LOOK = 256
local HELD_LIMIT_US = 5000000  -- limits may change meanwhile

local function real(number)
  return string.format('%.17g', number)
end

local function newcomers_turn(turn, quantum, weight)
  return turn + quantum / weight
end

-- Returns where a lane stands after it was served `jobs`, and how far the line has come.
local function served(own, turn, jobs, quantum, weight)
  own = math.max(own, turn)
  return own + jobs / weight, math.max(turn, own - math.max(0, quantum - jobs) / weight)
end

local function line_turn()
  return tonumber(redis.call('HGET', SIDE, 'turn') or 0)
end

local function weight_of(key)
  local weight = key ~= '' and redis.pcall('HGET', Q .. 'limits', 'weight@' .. key)
  weight = type(weight) == 'string' and tonumber(weight) or 1
  return weight > 0 and weight < math.huge and math.max(weight, 0.001) or 1
end

local function stand_in_line(lane, since_ms, own)
  local rank = rank_and_key(lane)
  redis.call('ZADD', ready_key(rank), real(own), lane)
  redis.call('ZADD', Q .. 'ageing', int(since_ms), lane)
end

local function since_of(lane)
  return tonumber(redis.call('ZSCORE', LANES, lane) or NOBODY_MS)
end

-- Lanes whose time has come stand in line; lanes that have stood there for too long starve.
local function call_lanes(terms)
  local turn = line_turn()
  local function enter(from, lanes)
    for _, lane in ipairs(lanes) do
      redis.call('ZREM', Q .. from, lane)
      local _, key = rank_and_key(lane)
      stand_in_line(lane, since_of(lane), newcomers_turn(turn, terms.quantum, weight_of(key)))
    end
  end
  local due_ms = int(math.floor((now_us - terms.max_wait_us) / 1000))
  enter('forming', redis.call('ZRANGEBYSCORE', Q .. 'forming', '-inf', due_ms, 'LIMIT', 0, LANES_PER_LOOK))
  enter('forming', redis.call('ZRANGEBYSCORE', Q .. 'forming', int(now_ms + 1000), '+inf', 'LIMIT', 0, LANES_PER_LOOK))
  enter('held', redis.call('ZRANGEBYSCORE', Q .. 'held', '-inf', int(now_ms), 'LIMIT', 0, LANES_PER_LOOK))
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', Q .. 'ageing', '-inf', int(now_ms - terms.starvation_ms),
    'LIMIT', 0, LANES_PER_LOOK)) do
    local rank = rank_and_key(lane)
    local own = tonumber(redis.call('ZSCORE', ready_key(rank), lane) or turn)
    redis.call('ZREM', Q .. 'ageing', lane)
    redis.call('ZREM', ready_key(rank), lane)
    redis.call('ZADD', ready_key('aged'), real(math.min(own, turn)), lane)
    redis.call('ZADD', Q .. 'aged', int(rank_score(rank)), lane)
  end
end

local function first_of_set(name)
  local found = redis.call('ZRANGE', ready_key(name), 0, 0, 'WITHSCORES')
  if not found[1] then return nil end
  return {lane = found[1], own = tonumber(found[2])}
end

-- The lane that goes next, or nil. `main` says whether the main lane is due: nil, 'due' or 'starved'.
local function next_lane(main)
  local young
  for _, rank in ipairs(redis.call('ZRANGE', Q .. 'ranks', 0, -1, 'REV')) do
    young = first_of_set(rank)
    if young then
      young.rank = rank_score(rank)
      break
    end
  end
  local starved = first_of_set('aged')
  local top = redis.call('ZRANGE', Q .. 'aged', 0, 0, 'REV', 'WITHSCORES')
  local highest = math.max(young and young.rank or -math.huge, tonumber(top[2] or -math.huge), main and 0 or -math.huge)
  if young and young.rank == RANK_OF_FRONT then return young.lane end
  local best = starved
  if young and young.rank == highest and (not best or young.own < best.own) then best = young end
  if main and (highest == 0 or main == 'starved') then
    local own = tonumber(redis.call('HGET', SIDE, 'main') or 0)
    if not best or own < best.own then return 'main' end
  end
  return best and best.lane
end

-- Book what a lane was served, and say where it stands now. `terms`: max_wait_us, starvation_ms, quantum.
local function book(lane, jobs, terms)
  local turn = line_turn()
  if lane == 'main' then
    local own, line = served(tonumber(redis.call('HGET', SIDE, 'main') or 0), turn, jobs, terms.quantum, 1)
    redis.call('HSET', SIDE, 'main', real(own), 'turn', real(line))
    return
  end
  local rank, key = rank_and_key(lane)
  local starved = redis.call('ZSCORE', Q .. 'aged', lane)
  local stood = tonumber(redis.call('ZSCORE', ready_key(starved and 'aged' or rank), lane) or turn)
  local own, line = served(stood, turn, jobs, terms.quantum, weight_of(key))
  if jobs > 0 then redis.call('HSET', SIDE, 'turn', real(line)) end
  unlist(lane)
  local waiting, delivered = side_backlog(lane)
  local oldest = oldest_waiting(lane, delivered)
  if not oldest then
    redis.call('ZADD', LANES, 'XX', int(NOBODY_MS), lane)
    return
  end
  local since_ms = entry_ms(oldest[1])
  redis.call('ZADD', LANES, int(since_ms), lane)
  if rank ~= 'front' and waiting < terms.quantum and since_ms * 1000 > now_us - terms.max_wait_us then
    redis.call('ZADD', Q .. 'forming', int(since_ms), lane)
  elseif since_ms <= now_ms - terms.starvation_ms then
    redis.call('ZADD', ready_key('aged'), real(own), lane)
    redis.call('ZADD', Q .. 'aged', int(rank_score(rank)), lane)
  else
    stand_in_line(lane, since_ms, own)
  end
end

-- The lanes with waiting jobs that may ride with a lane, the highest priority first.
local function mates_of(lane)
  local _, key = rank_and_key(lane)
  key = key or ''
  local mates, plain_done = {}, key ~= ''
  local function add(name)
    if name ~= lane then mates[#mates + 1] = name end
  end
  for _, rank in ipairs(redis.call('ZRANGE', Q .. 'ranks', 0, -1, 'REV')) do
    local score = rank_score(rank)
    if not plain_done and score <= 0 then
      add('main')
      plain_done = true
    end
    local name = rank .. '/' .. key
    if since_of(name) < NOBODY_MS then add(name) end
  end
  if not plain_done then add('main') end
  return mates
end

-- Microseconds until a lane's time comes; nil where none waits for a time.
local function next_call_us(max_wait_us)
  if redis.call('EXISTS', ready_key('aged')) == 1 or redis.call('EXISTS', Q .. 'ageing') == 1 then return 0 end
  local soonest
  for name, wait_us in pairs({forming = max_wait_us, held = 0}) do
    local first = redis.call('ZRANGE', Q .. name, 0, 0, 'WITHSCORES')
    local at_us = first[2] and tonumber(first[2]) * 1000 + wait_us
    if at_us and (not soonest or at_us < soonest) then soonest = at_us end
  end
  return soonest and math.max(0, soonest - now_us)
end

-- A lane whose key has used up its rate stands apart until there is more.
local function hold(lane, wait_us)
  unlist(lane)
  redis.call('ZADD', Q .. 'held', int(now_ms + math.ceil(math.min(wait_us, HELD_LIMIT_US) / 1000)), lane)
end

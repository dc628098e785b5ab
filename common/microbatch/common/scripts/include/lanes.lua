-- lanes: jobs with a priority or a batch key wait in side lanes. Needs base and backlog.
-- A side lane is called rank/key: the rank is the priority, or `front` for what was handed back; without a key
-- nothing follows the slash. It lives while it has entries. Nobody may scan for lanes, so these keys say which there are:
--   lanes        zset  each side lane -> when its oldest waiting job came (ms); NOBODY_MS where all its jobs run
--   forming      zset  lanes whose next batch forms -> the same; 0 where it is due at once
--   held         zset  lanes that a rate limit keeps back -> until when (ms)
--   ready:{rank} zset  lanes that are due, young ones -> their turn;  ready:aged the same for those that starved
--   ageing, aged zset  lanes in ready:{rank} -> as in `lanes`;  lanes in ready:aged -> rank
--   ranks        zset  ranks in use
--   side         hash  jobs, waiting: counts over all side lanes; counted_ms: see recount; turn, main: see turns;
--                      floor: see below
-- A lane with waiting jobs is in exactly one of forming, held and the sets of ready lanes.
local SIDE, LANES = Q .. 'side', Q .. 'lanes'
local NOBODY_MS = 9000000000000000
local PRIORITY_LIMIT, KEY_LIMIT = 100, 128
local RANK_OF_FRONT = 1000

local function is_side(lane)
  return lane:find('/', 1, true) ~= nil
end

local function rank_and_key(lane)
  return lane:match('^([^/]*)/(.*)$')
end

local function rank_score(rank)
  return rank == 'front' and RANK_OF_FRONT or tonumber(rank) or 0
end

-- Where the fields of an entry want to wait. A foreign entry may say anything, and then says nothing.
local function lane_of(fields)
  local key = fields['batch_key'] or ''
  if #key > KEY_LIMIT or not key:match('^[%w_.:-]*$') then key = '' end
  local priority = tonumber((fields['priority'] or ''):match('^%-?%d+$') or '0')
  if priority == 0 or math.abs(priority) > PRIORITY_LIMIT then
    return key == '' and 'main' or '0/' .. key
  end
  return int(priority) .. '/' .. key
end

-- What is handed back goes first, and rides only with its own key.
local function front_of(fields)
  local _, key = rank_and_key(lane_of(fields))
  return (key or '') == '' and 'front' or 'front/' .. key
end

-- A lane's waiting jobs and the last delivered id. Entries go only by XDEL with XACK here, so this count is exact,
-- also where deletions of undelivered entries have made the lag unknown.
local function side_backlog(lane)
  local groups = redis.pcall('XINFO', 'GROUPS', lane_key(lane))
  local length = redis.call('XLEN', lane_key(lane))
  if groups.err or #groups == 0 then return length, nil end
  local facts = {}
  for i = 1, #groups[1], 2 do facts[groups[1][i]] = groups[1][i + 1] end
  return math.max(0, length - tonumber(facts['pending'])), facts['last-delivered-id']
end

-- How many jobs are in side lanes, and how many of them wait.
local function side_counts()
  local counts = redis.pcall('HMGET', SIDE, 'jobs', 'waiting')
  if counts.err then return 0, 0 end
  return math.max(0, tonumber(counts[1] or 0)), math.max(0, tonumber(counts[2] or 0))
end

local function side_waits()
  local _, waiting = side_counts()
  return waiting > 0
end

-- Whether the keys of the index are ours; asked before the writes of a job that needs them.
local function lanes_are_ours()
  for _, name in ipairs({'lanes', 'forming', 'ranks'}) do
    if type(redis.pcall('ZCARD', Q .. name)) ~= 'number' then return false end
  end
  return type(redis.pcall('HLEN', SIDE)) == 'number'
end

-- The same for all that a lane is in once it waits for its turn; asked where one may leave from anywhere.
local function index_is_ours(lane)
  local turns = {'held', 'ageing', 'aged', 'ready:aged', 'ready:' .. rank_and_key(lane)}
  for _, name in ipairs(turns) do
    if type(redis.pcall('ZCARD', Q .. name)) ~= 'number' then return false end
  end
  return lanes_are_ours()
end

-- See to it that a lane exists, and say under which id the next entry comes. A lane that was deleted and comes
-- again must not give an id a second time: a token is the fence.
local function open_lane(lane)
  if redis.call('EXISTS', lane_key(lane)) == 1 then return '*' end
  redis.call('XGROUP', 'CREATE', lane_key(lane), GROUP, '0', 'MKSTREAM')
  local floor = is_side(lane) and redis.call('HGET', SIDE, 'floor')
  if not floor or entry_ms(floor) < now_ms then return '*' end
  return int(entry_ms(floor)) .. '-' .. int(tonumber(floor:match('%d+$')) + 1)
end

local function ready_key(rank)
  return Q .. 'ready:' .. rank
end

-- Take a lane out of wherever it waits for its turn.
local function unlist(lane)
  redis.call('ZREM', Q .. 'forming', lane)
  redis.call('ZREM', Q .. 'held', lane)
  redis.call('ZREM', ready_key((rank_and_key(lane))), lane)
  redis.call('ZREM', Q .. 'ageing', lane)
  if redis.call('ZREM', Q .. 'aged', lane) == 1 then redis.call('ZREM', ready_key('aged'), lane) end
end

-- Enter a lane that has a waiting job since `since_ms`, unless it is entered.
local function list_lane(lane, since_ms)
  local known = redis.call('ZSCORE', LANES, lane)
  if known and tonumber(known) < NOBODY_MS then return end
  redis.call('ZADD', LANES, int(since_ms), lane)
  local rank = rank_and_key(lane)
  redis.call('ZADD', Q .. 'ranks', int(rank_score(rank)), rank)
  redis.call('ZADD', Q .. 'forming', lane:sub(1, 6) == 'front/' and '0' or int(since_ms), lane)
end

-- Write an entry to a lane, whichever it is. Returns its token.
local function add_entry(lane, flat)
  local entry_id = call('XADD', lane_key(lane), open_lane(lane), unpack(flat))
  if is_side(lane) then
    call('HINCRBY', SIDE, 'jobs', '1')
    call('HINCRBY', SIDE, 'waiting', '1')
    list_lane(lane, math.min(now_ms, entry_ms(entry_id)))  -- the clock may have moved on since
  end
  return lane .. ':' .. entry_id
end

-- The oldest entry of a lane that nobody has.
local function oldest_waiting(lane, delivered)
  return redis.call('XRANGE', lane_key(lane), delivered and '(' .. delivered or '-', '+', 'COUNT', 1)[1]
end

local function is_later(id, other)
  local ms, other_ms = entry_ms(id), entry_ms(other)
  return ms > other_ms or ms == other_ms and tonumber(id:match('%d+$')) > tonumber(other:match('%d+$'))
end

-- An empty lane goes, with its group; in another one a worker that has nothing any more is forgotten: neither
-- lanes nor their consumers may grow with the keys that were ever used.
local function tidy_lane(lane, worker)
  if redis.call('XLEN', lane_key(lane)) > 0 then
    local held = worker and redis.pcall('XPENDING', lane_key(lane), GROUP, '-', '+', 1, worker)
    if held and not held.err and #held == 0 then
      redis.pcall('XGROUP', 'DELCONSUMER', lane_key(lane), GROUP, worker)
    end
    return
  end
  local _, last_id = side_backlog(lane)  -- what nobody was given, nobody can settle
  redis.call('DEL', lane_key(lane))
  unlist(lane)
  redis.call('ZREM', LANES, lane)
  if redis.call('EXISTS', LANES) == 0 then
    redis.call('HDEL', SIDE, 'jobs', 'waiting', 'turn', 'main')  -- whatever was miscounted by somebody's hand
    redis.call('DEL', Q .. 'ranks')
  end
  local floor = redis.call('HGET', SIDE, 'floor')
  if last_id and (not floor or is_later(last_id, floor)) then redis.call('HSET', SIDE, 'floor', last_id) end
end

-- Entries of a lane are gone; `waiting` of them had not been delivered.
local function count_out(lane, gone, waiting)
  if gone == 0 or not is_side(lane) then return end
  redis.call('HINCRBY', SIDE, 'jobs', int(-gone))
  if waiting > 0 then redis.call('HINCRBY', SIDE, 'waiting', int(-waiting)) end
end

-- Something that waited in a lane was cancelled, or the index was lost: say again since when it waits.
local function relist(lane)
  tidy_lane(lane, nil)
  local _, delivered = side_backlog(lane)
  local oldest = oldest_waiting(lane, delivered)
  if not oldest then
    unlist(lane)
    redis.call('ZADD', LANES, 'XX', int(NOBODY_MS), lane)
    return
  end
  local since_ms = int(entry_ms(oldest[1]))
  list_lane(lane, since_ms)
  redis.call('ZADD', LANES, 'XX', since_ms, lane)
  redis.call('ZADD', Q .. 'ageing', 'XX', since_ms, lane)
  if tonumber(redis.call('ZSCORE', Q .. 'forming', lane) or 0) > 0 then
    redis.call('ZADD', Q .. 'forming', 'XX', since_ms, lane)
  end
end

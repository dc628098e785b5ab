-- backlog: how much of a lane was not delivered yet, and the last delivered id.
-- From the group's lag: XLEN - XPENDING was seen to be wrong after deletes. Where the server cannot tell
-- the lag (nil), XLEN - pending is the estimate; emptiness is decided by a read, never by this number.
local function backlog(lane)
  local groups = redis.pcall('XINFO', 'GROUPS', lane_key(lane))
  if groups.err then return 0, nil end
  for _, group in ipairs(groups) do
    local facts = {}
    for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
    if facts['name'] == GROUP then
      local waiting = tonumber(facts['lag'])
      if not waiting then
        waiting = redis.call('XLEN', lane_key(lane)) - tonumber(facts['pending'])
      end
      return math.max(0, waiting), facts['last-delivered-id']
    end
  end
  return redis.call('XLEN', lane_key(lane)), nil
end

-- How many entries were cancelled before anybody read them; 0 where an operator broke the key.
local function tombstone_count()
  local count = redis.pcall('SCARD', Q .. 'tombstones')
  return type(count) == 'number' and count or 0
end

-- How many of the lanes `front` and `solo` are there and hold nothing: once used they stay, and are nothing rare then.
local function spent_lanes()
  local spent = 0
  for _, lane in ipairs({'front', 'solo'}) do
    if redis.pcall('XLEN', lane_key(lane)) == 0 then spent = spent + redis.call('EXISTS', lane_key(lane)) end
  end
  return spent
end

-- What no worker holds yet, over all lanes; tombstoned entries are not work.
local function waiting_jobs()
  local waiting = backlog('main')
  if redis.call('EXISTS', lane_key('front'), lane_key('solo'), Q .. 'tombstones') == 0 then return waiting end
  for _, lane in ipairs({'front', 'solo'}) do
    if redis.call('XLEN', lane_key(lane)) > 0 then waiting = waiting + backlog(lane) end
  end
  return math.max(0, waiting - tombstone_count())
end

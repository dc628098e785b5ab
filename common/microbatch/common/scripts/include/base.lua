-- base: what every script begins with.
-- KEYS[1] is the queue's prefix, "mb:{queue}:". It is never a key itself: it carries the hash tag, so that
-- a cluster routes the call, and every key below is built from it.
-- Numbers leave as strings: some servers convert Lua numbers to arguments wrongly.
local Q = KEYS[1]
local call = redis.call  -- a local is found faster than a field of a global, once per job and command
local GROUP = 'workers'
local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now_ms = math.floor(now_us / 1000)

local function int(number)
  return string.format('%.0f', number)
end

local function job_key(id)
  return Q .. 'job:' .. id
end

local function lane_key(lane)
  return Q .. 'lane:' .. lane
end

-- A token names one stream entry across all lanes, "lane:entry-id": record.entry holds the live one.
local function split_token(token)
  return token:match('^(%S+):(%d+%-%d+)$')
end

local function entry_ms(entry_id)
  return tonumber(entry_id:match('^%d+'))
end

-- The lane's stream and group. Created at 0: a group at $ would skip what was added before it.
local function ensure_lane(lane)
  if redis.call('EXISTS', lane_key(lane)) == 0 then
    redis.call('XGROUP', 'CREATE', lane_key(lane), GROUP, '0', 'MKSTREAM')
  end
end

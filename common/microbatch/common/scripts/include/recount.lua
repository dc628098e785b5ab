-- recount: take the counts of the side lanes anew, a bounded number of lanes and seldom. Needs base and lanes.
-- The counts follow what the scripts do. What an operator does to a lane, or a destroyed group that came back at 0,
-- they cannot know, and would be wrong until all side lanes are gone: workers that end when a queue is dry never end.
local RECOUNT_LANES, RECOUNT_EVERY_MS = 256, 10000

local function recount_side()
  local lanes = redis.pcall('ZCARD', LANES)
  if type(lanes) ~= 'number' or lanes == 0 or lanes > RECOUNT_LANES then return end
  local counted_ms = tonumber(redis.call('HGET', SIDE, 'counted_ms') or 0)
  if counted_ms <= now_ms and counted_ms > now_ms - RECOUNT_EVERY_MS then return end
  local jobs, waiting = 0, 0
  for _, lane in ipairs(redis.call('ZRANGE', LANES, 0, -1)) do
    local length = redis.pcall('XLEN', lane_key(lane))
    if type(length) ~= 'number' then return end
    jobs = jobs + length
    waiting = waiting + side_backlog(lane)
  end
  redis.call('HSET', SIDE, 'jobs', int(jobs), 'waiting', int(waiting), 'counted_ms', int(now_ms))
end

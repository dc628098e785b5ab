-- pace: tell the fleet how long batches took, and learn what it knows.
--
-- Keys:    the queue's prefix
-- Args:    half_life_ms, then of the runs since this worker's last call: count, sum of sizes, sum of durations in ms,
--          sum of squared sizes, sum of size * duration
-- Returns: the same five sums over the fleet, each as a string; older runs count less
-- Atomic because: two workers that add to the same sums must not lose each other's runs.
-- Executed twice it counts the same runs twice: an estimate, which nothing but the pace of batches hangs on.
-- @include base
local FIELDS = {'runs', 'sizes', 'durations_ms', 'sizes_squared', 'products'}
local KEPT_MS = '86400000'
local pace = Q .. 'pace'

local known = redis.pcall('HMGET', pace, 'at_ms', unpack(FIELDS))
if known.err then
  call('DEL', pace)  -- an estimate is not worth keeping what an operator put in its place
  known = {}
end
local age_ms = math.max(0, now_ms - (tonumber(known[1] or '') or now_ms))
local left = 0.5 ^ (age_ms / tonumber(ARGV[1]))

call('PEXPIRE', pace, KEPT_MS)  -- first write: a full server refuses it not, and then none of those that follow
local sums, fields = {}, {'at_ms', int(now_ms)}
for i = 1, #FIELDS do
  sums[i] = string.format('%.6g', (tonumber(known[i + 1] or '') or 0) * left + tonumber(ARGV[i + 1]))
  fields[#fields + 1] = FIELDS[i]
  fields[#fields + 1] = sums[i]
end
call('HSET', pace, unpack(fields))
call('PEXPIRE', pace, KEPT_MS)
return sums

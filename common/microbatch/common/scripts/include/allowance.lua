-- allowance: how much a batch may have: the worker's budgets, and what the limits of an operator leave of this second.
-- Needs base and lanes. Only claim asks, and only where there are budgets or limits.
-- A rate is a token bucket, `bucket:{name}`: 'tokens at_us'. It holds burst_s seconds' worth, and one token at least;
-- it is gone once it must be full again, so buckets do not grow with the keys that were ever used. Who needs more
-- than it holds goes when it is full, and leaves it in debt: so nothing is put back for ever.
local RATES = {'jobs_per_s', 'batches_per_s', 'cost_per_s'}
local BUCKET_KEPT_MS = 604800000

-- Tokens in a bucket now. `left` of them were there `since_us` ago.
local function tokens_now(left, since_us, rate, size)
  return math.min(size, left + math.max(0, since_us) / 1000000 * rate)
end

local function bucket_of(name, rate, burst_s)
  local size = math.max(1, rate * burst_s)
  local kept = redis.pcall('GET', Q .. 'bucket:' .. name)
  local left, at_us = (type(kept) == 'string' and kept or ''):match('^(%-?[%d.]+) (%d+)$')
  local tokens = rate == 0 and 0 or left and tokens_now(tonumber(left), now_us - tonumber(at_us), rate, size) or size
  return {name = name, rate = rate, size = size, tokens = tokens}
end

-- Microseconds until so many are there; what a bucket cannot hold needs a full one.
local function wait_for_us(bucket, wanted)
  local missing = math.min(wanted, bucket.size) - bucket.tokens
  if missing <= 0.000001 then return 0 end
  return bucket.rate > 0 and math.ceil(missing / bucket.rate * 1000000) or HELD_LIMIT_US
end

local function spend(bucket, spent)
  local left = bucket.tokens - spent
  local full_ms = bucket.rate > 0 and math.ceil((bucket.size - left) / bucket.rate * 1000) + 1 or BUCKET_KEPT_MS
  redis.call('SET', Q .. 'bucket:' .. bucket.name, string.format('%.6f %.0f', left, now_us),
    'PX', int(math.max(1, math.min(full_ms, BUCKET_KEPT_MS))))
end

-- The buckets of the whole queue ('') or of one batch key, by rate; nil where nothing is limited.
local function buckets_for(key)
  local asked = {'burst_s'}
  for _, rate in ipairs(RATES) do
    asked[#asked + 1] = key == '' and rate or rate .. '@' .. key
    asked[#asked + 1] = key == '' and rate or rate .. '@*'
  end
  local said = redis.pcall('HMGET', Q .. 'limits', unpack(asked))
  if said.err then return nil end
  local burst_s, buckets = tonumber(said[1] or nil) or 1, nil
  for i, rate in ipairs(RATES) do
    local number = tonumber(said[2 * i] or nil) or tonumber(said[2 * i + 1] or nil)
    if number and number >= 0 and number < math.huge then
      buckets = buckets or {}
      buckets[rate] = bucket_of(key == '' and rate or rate .. '@' .. key, number, burst_s)
    end
  end
  return buckets
end

-- How long a batch of one job that costs nothing would have to wait, and how many jobs may go then.
local function look_at(buckets)
  local wait_us, jobs = 0, math.huge
  for rate, bucket in pairs(buckets or {}) do
    if rate ~= 'cost_per_s' then wait_us = math.max(wait_us, wait_for_us(bucket, 1)) end
    if rate == 'jobs_per_s' then jobs = math.max(1, math.floor(bucket.tokens + 0.000001)) end
  end
  return wait_us, jobs
end

-- Batches that the whole fleet holds; what a dead worker held counts until it is taken over.
local function batches_in_flight()
  local count = 0
  for _, name in ipairs(redis.call('ZRANGE', Q .. 'workers', 0, -1)) do
    count = count + redis.call('HLEN', Q .. 'batches:' .. name)
  end
  return count
end

local function is_fleet_busy()
  local most = redis.pcall('HGET', Q .. 'limits', 'max_concurrent_batches')
  most = type(most) == 'string' and tonumber(most)
  return most and batches_in_flight() >= most
end

-- What a job counts: its cost, and its payload's bytes.
local function measures_of(fields)
  local cost, size = 1, 0
  for i = 1, #fields, 2 do
    if fields[i] == 'cost' and fields[i + 1]:match('^%d+$') then cost = tonumber(fields[i + 1]) end
    if fields[i] == 'payload' then size = #fields[i + 1] end
  end
  return cost, size
end

-- How many of the next `ask` jobs of a lane fit. `batch`: jobs, cost, bytes, what it has by now; `budget`: cost and
-- bytes, what the worker allows; `rates`: buckets of cost. The first job of a batch always fits a budget. Where it
-- does not fit a rate, batch.wait_us says how long not, and batch.waits_for which bucket; where anything did not fit,
-- batch.is_full is set. What is cancelled takes no room.
local function affordable(lane, ask, batch, budget, rates)
  local _, delivered
  if is_side(lane) then _, delivered = side_backlog(lane) else _, delivered = backlog(lane) end
  local entries = redis.call('XRANGE', lane_key(lane), delivered and '(' .. delivered or '-', '+', 'COUNT', ask)
  for n, entry in ipairs(entries) do
    if is_side(lane) or redis.pcall('SISMEMBER', Q .. 'tombstones', lane .. ':' .. entry[1]) ~= 1 then
      local cost, size = measures_of(entry[2])
      local first = batch.jobs == 0
      batch.is_full = not first and (batch.cost + cost > budget.cost or batch.bytes + size > budget.bytes)
      for _, bucket in ipairs(rates) do
        local wait_us = first and wait_for_us(bucket, cost) or 0
        if wait_us > (batch.wait_us or 0) then batch.wait_us, batch.waits_for = wait_us, bucket.name end
        if wait_us > 0 or not first and batch.cost + cost > bucket.tokens + 0.000001 then batch.is_full = true end
      end
      if batch.is_full then return n - 1 end
      batch.jobs, batch.cost, batch.bytes = batch.jobs + 1, batch.cost + cost, batch.bytes + size
    end
  end
  return #entries
end

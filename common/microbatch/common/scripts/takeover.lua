-- takeover: give the jobs of a dead worker to the living, and forget it once it owns nothing.
--
-- Keys:    the queue's prefix
-- Args:    worker (who asks), dead worker, heartbeat_limit_ms, max_crashes, WorkerLost error (msgpack), ttl_ms,
--          dead_max_length
-- Returns: {moved, failed, left}  jobs moved to `solo`, jobs failed with WorkerLost, jobs for another call;
--          {-1, 0, 0} where that worker has beaten again
-- Atomic because: whether it is dead is judged in the same step that takes its jobs. A frozen worker that
--          thaws later finds every token moved, and writes nothing.
-- Jobs that it held go to `solo`, one per batch: if one of them kills workers, it does so alone. A death counts
-- as the job's crash only where the worker had said that it ran nothing else, so that no mate is ever blamed.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include reply
-- @include finish
-- @include move
-- @include dead
-- @include crash
-- @include lost
local dead, limit_ms, max_crashes = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lost_error, default_ttl_ms, dead_max_length = ARGV[5], ARGV[6], ARGV[7]
local CHUNK = 256

local beat_ms = redis.call('ZSCORE', Q .. 'workers', dead)
if beat_ms and tonumber(beat_ms) > now_ms - limit_ms then return {-1, 0, 0} end

local batches = Q .. 'batches:' .. dead
local moved, failed, left, done = 0, 0, 0, 0
redis.call('ZREM', Q .. 'idle', dead)
redis.call('DEL', Q .. 'offer:' .. dead)

local listed = redis.call('HGETALL', batches)
for i = 1, #listed, 2 do
  local batch, head, tokens = listed[i], listed[i + 1]:match('^(%d+ %w+ )(.+)$')
  local rest, alone = {}, head:find(' alone ', 1, true)
  local facts = facts_of(batch, dead, listed[i + 1])
  for token in tokens:gmatch('%S+') do
    if done >= CHUNK then
      rest[#rest + 1] = token
    else
      done = done + 1
      if alone then
        local ending = crashed_alone(token, dead, batch,
          {max_crashes = max_crashes, error = lost_error, ttl_ms = default_ttl_ms, dead_max_length = dead_max_length,
            facts = facts})
        if ending == 'moved' then moved = moved + 1 elseif ending == 'failed' then failed = failed + 1 end
      else
        local lane, entry_id = split_token(token)
        if move(lane, entry_id, 'solo', 1, 0, 'taken_over', facts) then moved = moved + 1 end
      end
    end
  end
  if #rest == 0 then
    redis.call('HDEL', batches, batch)
  else
    left = left + #rest
    redis.call('HSET', batches, batch, head:match('^%d+ ') .. 'chunked ' .. table.concat(rest, ' '))
  end
end

-- What it holds without a batch (an operator's hand, a damaged hash) goes too: nobody else would look for it.
local lanes = left == 0 and redis.pcall('ZRANGE', LANES, 0, -1) or {}
if lanes.err then lanes = {} end
for _, lane in ipairs({'main', 'front', 'solo'}) do lanes[#lanes + 1] = lane end
for _, lane in ipairs(lanes) do
  local pending = left == 0 and redis.pcall('XPENDING', lane_key(lane), GROUP, '-', '+', CHUNK + 1, dead)
  for _, row in ipairs(pending and not pending.err and pending or {}) do
    if done >= CHUNK then
      left = left + 1
    else
      done = done + 1
      if move(lane, row[1], 'solo', 1, 0, 'taken_over') then moved = moved + 1 end
    end
  end
end

tidy_left_lanes(dead)
if left == 0 then
  redis.call('ZREM', Q .. 'workers', dead)
  local about = redis.pcall('HGET', Q .. 'about', dead)
  redis.pcall('HDEL', Q .. 'about', dead)
  if beat_ms then note_lost(dead, tonumber(beat_ms), type(about) == 'string' and about or '') end
  for _, lane in ipairs({'main', 'front', 'solo'}) do
    -- Deleting a consumer discards what it still holds: by now that is nothing.
    redis.pcall('XGROUP', 'DELCONSUMER', lane_key(lane), GROUP, dead)
  end
  local watcher = redis.call('GET', Q .. 'watcher')
  if watcher and watcher:match('^%d+ (.+)$') == dead then redis.call('DEL', Q .. 'watcher') end
end
send_replies()
if waiting_jobs() > 0 or side_waits() then wake(true) end
return {moved, failed, left}

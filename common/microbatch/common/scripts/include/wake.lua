-- wake: tell exactly one worker that work waits, condition-variable style.
-- Included in every script that makes work claimable. Needs base and backlog.
--
-- `watcher` is "threshold worker" with a lease. Threshold > 0: that worker waits for a batch to fill and is
-- told when that many jobs wait. Threshold 0: a wake is in flight to it, so nobody else is woken; the claim
-- that follows replaces or clears it. The lease bounds what a worker that died in between can cost.
-- `aside`: how many jobs came to side lanes just now.
-- `urgent`: there is work that is due by itself (handed back, taken over), whatever the watcher waits for.
-- `hand`: gives the work to an idle worker and says whether it did; see there.
local WAKE_LEASE_MS = '100'
local IDLE_LIMIT_MS = 3000

local function is_watched_by(worker)
  local watcher = redis.call('GET', Q .. 'watcher')
  return watcher and watcher:match('^%d+ (.+)$') == worker, watcher
end

local function ring(worker)
  redis.call('SET', Q .. 'watcher', '0 ' .. worker, 'PX', WAKE_LEASE_MS)
  redis.call('PUBLISH', Q .. 'wake:' .. worker, '1')
end

local function wake_one(urgent, aside, hand)
  local watcher = redis.call('GET', Q .. 'watcher')
  if watcher then
    local threshold, worker = watcher:match('^(%d+) (.+)$')
    threshold = tonumber(threshold)
    if threshold > 0 and (urgent or waiting_jobs() + (aside or 0) >= threshold) then ring(worker) end
    return
  end
  local newest = redis.call('ZRANGE', Q .. 'idle', 0, 0, 'REV', 'WITHSCORES')
  if not newest[1] then return end
  if tonumber(newest[2]) < now_ms - IDLE_LIMIT_MS then
    redis.call('DEL', Q .. 'idle')  -- the newest is stale, so all are: none of them looks any more
    return
  end
  if hand and hand(newest[1], tonumber(newest[2])) then return end
  redis.call('ZREM', Q .. 'idle', newest[1])
  ring(newest[1])
end

-- A wake is a hint, and comes after the writes: a key that somebody broke must not make them look failed.
local function wake(urgent, aside, hand)
  pcall(wake_one, urgent, aside, hand)
end

-- idle: whether a worker sleeps for want of work. Whoever is idle looks every now and then. Needs base and wake.
local function somebody_is_idle()
  return redis.call('ZCOUNT', Q .. 'idle', int(now_ms - IDLE_LIMIT_MS), '+inf') > 0
end

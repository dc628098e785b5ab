-- hold: let nothing out of a queue, or nothing into it, or let both go again.
--
-- Keys:    the queue's prefix
-- Args:    pause | drain | resume, who says so (no line breaks)
-- Returns: {paused, draining} as they are afterwards, each 'since_ms who' or ''
-- Atomic because: whoever is idle must hear of a resumption, and nobody may be woken for nothing before it.
-- A pause keeps a queue that drains closed. A drain ends a pause: what is there is to leave. Who came first is kept.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include gate
local action, who = ARGV[1], ARGV[2]
local since = int(now_ms) .. ' ' .. who
local was_paused = is_gated('paused')

if action == 'pause' then
  redis.call('DEL', Q .. 'watcher')  -- first write: it frees, so that a full server lets it through
  if not was_paused then redis.call('HSET', Q .. 'gate', 'paused', since) end
  redis.call('SET', Q .. 'watcher', HOLD, 'PX', HOLD_MS)
elseif action == 'drain' then
  redis.call('HDEL', Q .. 'gate', 'paused')
  if not is_gated('draining') then redis.call('HSET', Q .. 'gate', 'draining', since) end
else
  redis.call('DEL', Q .. 'gate')
end
if action ~= 'pause' then
  if redis.call('GET', Q .. 'watcher') == HOLD then redis.call('DEL', Q .. 'watcher') end
  if was_paused then wake(true) end
end
local held = redis.call('HMGET', Q .. 'gate', 'paused', 'draining')
return {held[1] or '', held[2] or ''}

-- gate: whether a queue lets jobs in and out. Needs base.
-- The hash `gate` is there only while an operator holds something up: `paused` (nothing leaves), `draining` (nothing
-- comes in), each 'since_ms who'. While the queue is paused `watcher` says that a wake is in flight, to nobody: so
-- no script wakes anybody for nothing. That has a lease, which heartbeats renew: a lost gate must not stop wakes.
local HOLD, HOLD_MS = '0 -', '5000'

local function is_gated(what)
  return type(redis.pcall('HGET', Q .. 'gate', what)) == 'string'
end

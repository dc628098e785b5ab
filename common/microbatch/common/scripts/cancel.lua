-- cancel: make jobs final at once, in whatever state they are.
--
-- Keys:    the queue's prefix
-- Args:    ttl_ms, local ids
-- Returns: each job's state afterwards: 'cancelled', or the final state that it had before; 'unknown' where there
--          is no record, 'foreign' where the key, or one that its lane is listed in, holds something else
-- Atomic because: between a look at the job and its end it may be claimed, retried or settled. The fence is the
--          usual one: the record names no entry any more, so a late result finds that it lost.
-- A worker that runs the job is told on its wake channel: 'cancel' and the entry's token.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include reply
-- @include finish
-- @include move
-- @include park
-- @include withdraw
local ttl_ms = ARGV[1]
local states = {}

local function cancel(id)
  local record = redis.pcall('HMGET', job_key(id), 'state', 'entry')
  if record.err then return 'foreign' end
  local state, token = record[1], record[2] or ''
  if not state then return 'unknown' end
  if state ~= 'queued' and state ~= 'scheduled' then return state end
  local lane = split_token(token)
  if lane and is_side(lane) and not index_is_ours(lane) then return 'foreign' end

  local worker, fields = withdraw(id, token)
  call('HDEL', job_key(id), 'last_error')
  finish(id, fields['client'] or '', 'cancelled', '\192', ttl_of(fields, ttl_ms))
  if worker then redis.pcall('PUBLISH', Q .. 'wake:' .. worker, 'cancel ' .. token) end
  return 'cancelled'
end

for i = 2, #ARGV do states[i - 1] = cancel(ARGV[i]) end
send_replies()
return states

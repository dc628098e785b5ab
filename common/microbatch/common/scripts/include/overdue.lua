-- overdue: whoever asks for a job settles what nobody else would. Needs base, reply, finish, move, park,
-- withdraw and carried.
-- A job whose deadline passed before it was started is `expired`, also where no worker lives; one whose entry is
-- gone although it has no result is `failed`, JobLost.
local NIL = '\192'  -- msgpack

-- Returns the final state, its value, and whether that is written; or nil where the job goes on.
local function conclude(id, state, token, expires_ms, lost_error, ttl_ms)
  if state ~= 'queued' and state ~= 'scheduled' then return nil end
  if not is_carried(id, state, token) then
    if not may_heal() then return 'failed', lost_error, false end
    call('HDEL', job_key(id), 'entry', 'parked', 'due_ms')  -- frees first, so that a full server lets it through
    redis.pcall('ZREM', Q .. 'scheduled', id)
    finish(id, '', 'failed', lost_error, ttl_ms)
    return 'failed', lost_error, true
  end
  if not tonumber(expires_ms) or tonumber(expires_ms) > now_ms or is_held(token) then return nil end
  if not may_heal() then return 'expired', NIL, false end
  local _, fields = withdraw(id, token)
  finish(id, fields['client'] or '', 'expired', NIL, ttl_of(fields, ttl_ms))
  return 'expired', NIL, true
end

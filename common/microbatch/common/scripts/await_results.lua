-- await_results: read the outcomes of jobs; optionally be told when the open ones finish.
--
-- Keys:    the queue's prefix
-- Args:    client, register (1 | 0), check (1 | 0), JobLost error (msgpack), ttl_ms, then local ids
-- Returns: per job {state, value}; {state} where it is not final; {'unknown'} where there is no record;
--          {'foreign'} where the key holds something else; {'later'} where it is final and the reply already
--          carries REPLY_LIMIT_BYTES of values: ask again for these (each call carries at least one)
-- Atomic because: a result that lands between the read and the registration would be waited for in vain.
-- With `check`, a job whose entry is gone becomes `failed` with JobLost, and one whose deadline passed before it
-- was started becomes `expired`: whoever asks, settles it (who may not write is told, and nothing is written).
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
-- @include carried
-- @include overdue
local client, register, check, lost_error, ttl_ms = ARGV[1], ARGV[2] == '1', ARGV[3] == '1', ARGV[4], ARGV[5]
local WATCHERS_KEPT_MS, CLIENTS_LIMIT_BYTES = '3600000', 4096  -- who waits longer looks again by itself
local REPLY_LIMIT_BYTES = 1048576
local result, watched, bytes = {}, false, 0

-- The newest comes last; the oldest makes room, so that asking again and again does not grow the list.
local function watch(id)
  local clients = redis.call('HGET', Q .. 'watchers', id) or ''
  watched = true
  for other in clients:gmatch('%S+') do
    if other == client then return end
  end
  if #clients > CLIENTS_LIMIT_BYTES then clients = clients:match(' (.+)$') or '' end
  redis.call('HDEL', Q .. 'watchers', id)  -- frees first, so that a full server lets it through
  redis.call('HSET', Q .. 'watchers', id, clients == '' and client or clients .. ' ' .. client)
end

for i = 6, #ARGV do
  local id = ARGV[i]
  local record = redis.pcall('HMGET', job_key(id), 'state', 'result', 'error', 'entry', 'expires_ms')
  if record.err then
    result[#result + 1] = {'foreign'}
  elseif not record[1] then
    result[#result + 1] = {'unknown'}
  elseif record[2] or record[3] then
    local value = record[2] or record[3]
    if bytes > 0 and bytes + #value > REPLY_LIMIT_BYTES then
      result[#result + 1] = {'later'}
    else
      bytes = bytes + #value
      result[#result + 1] = {record[1], value}
    end
  else
    local state, value
    if check then state, value = conclude(id, record[1], record[4] or '', record[5], lost_error, ttl_ms) end
    if state then
      result[#result + 1] = {state, value}
    else
      if register then watch(id) end
      result[#result + 1] = {record[1]}
    end
  end
end
if watched then redis.call('PEXPIRE', Q .. 'watchers', WATCHERS_KEPT_MS) end
send_replies()
return result

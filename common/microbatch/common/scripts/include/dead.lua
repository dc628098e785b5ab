-- dead: keep what failed for good, with all that is needed to look at it and to run it again. Needs base.
-- A letter is the entry's own fields behind some that begin with `dead_`. The stream is bounded; what had to
-- make room is counted. A broken `dead` key must not keep a batch from being settled, so that is counted too.
local FIELDS_LIMIT = 64  -- a foreign entry with thousands of fields must not break `unpack`

-- `death`: token, id, error (msgpack), worker, batch, attempt. Call it while the record is still there.
local function bury(flat, death, max_length)
  local record = redis.pcall('HMGET', job_key(death.id), 'digest', 'run')
  if record.err then record = {} end
  local letter = {'dead_token', death.token, 'dead_ms', int(now_ms), 'dead_worker', death.worker,
    'dead_batch', death.batch, 'dead_attempt', death.attempt, 'dead_error', death.error,
    'dead_digest', record[1] or '', 'dead_run', record[2] or '1'}
  if #flat == 0 then flat = {'id', death.id} end  -- somebody deleted the entry
  for i = 1, math.min(#flat, FIELDS_LIMIT) do letter[#letter + 1] = flat[i] end
  local written = redis.pcall('XADD', Q .. 'dead', '*', unpack(letter))
  if type(written) == 'table' then
    redis.pcall('HINCRBY', Q .. 'counters', 'dead_refused', '1')
    return
  end
  local trimmed = redis.pcall('XTRIM', Q .. 'dead', 'MAXLEN', max_length)
  if type(trimmed) == 'number' and trimmed > 0 then
    redis.pcall('HINCRBY', Q .. 'counters', 'dead_trimmed', int(trimmed))
  end
end

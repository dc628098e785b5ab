-- finish: write the one final outcome of a job into its record. Needs base and reply.
-- What follows the time to live are further fields of the record, in pairs (varargs: this runs once per job,
-- and a table for each would cost more than the write). A time to live of 0 keeps no record.
local finished_ms = int(now_ms)

-- The record's field `batch` for a job that no processor answered for: it says no reason, so that a late settle
-- of the same batch is no replay.
local function unreasoned(batch, worker)
  return batch .. ' 1 - 0 ' .. worker
end

local function tell_end(id, state, value, ...)
  local more, said = {...}, {}
  for i = 1, #more, 2 do said[more[i]] = more[i + 1] end
  local batch = said['batch']
  if said['ran'] then batch = batch .. ' ' .. said['ran'] end
  tell_event(id, state, said['attempt'] or '0', batch, state == 'failed' and value or nil)
end

local function finish(id, client, state, value, ttl_ms, ...)
  local record = job_key(id)
  local keep = tonumber(ttl_ms) > 0
  if keep then
    call('HSET', record, 'state', state, 'entry', '', state == 'succeeded' and 'result' or 'error', value,
      'finished_ms', finished_ms, ...)
    call('PEXPIRE', record, ttl_ms)
  else
    call('DEL', record)
  end
  announce(client, id, state, value, keep)
  if listened then tell_end(id, state, value, ...) end
end

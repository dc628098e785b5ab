-- crash: a process died while it ran this job alone. Needs base, reply, finish, move and dead.
-- Below `max_crashes` such deaths it gets another run, alone again; then it is failed and leaves a dead letter.
-- `terms`: max_crashes, error (msgpack), ttl_ms, dead_max_length, facts (of the batch, for its history). Returns 'moved', 'failed' or nil.
local function crashed_alone(token, worker, batch, terms)
  local lane, entry_id = split_token(token)
  local fields, flat, is_foreign = read_entry(lane, entry_id)
  if not fields then
    if not is_foreign then drop_entry(lane, entry_id) end
    return nil
  end
  local crashes = (tonumber(fields['crashes']) or 0) + 1
  local id = fields['id'] or ''
  local live = redis.pcall('HGET', job_key(id), 'entry')
  if crashes < terms.max_crashes or (type(live) == 'string' and live ~= token) then
    return move(lane, entry_id, 'solo', 1, 1, 'taken_over', terms.facts) and 'moved' or nil
  end
  drop_entry(lane, entry_id)
  local attempt = int((tonumber(fields['attempt']) or 0) + 1)
  bury(flat, {token = token, id = id, error = terms.error, worker = worker, batch = batch, attempt = attempt},
    terms.dead_max_length)
  if type(live) == 'table' then  -- a foreign key stays as it is; the client is told all the same
    announce(fields['client'] or '', id, 'failed', terms.error, false)
    return 'failed'
  end
  finish(id, fields['client'] or '', 'failed', terms.error, ttl_of(fields, terms.ttl_ms),
    'attempt', attempt, 'batch', unreasoned(batch, worker))
  return 'failed'
end

-- withdraw: take a job that is not final out of its queue. Needs base, lanes, move and park.
-- A delivered entry is acknowledged and deleted; one that was not delivered becomes a tombstone, which the next
-- claim clears away: deleting it here would make the group's lag, and so the count of waiting jobs, unknown.
-- Returns the worker that holds the job (or nil) and the fields of its entry.
local function withdraw(id, token)
  call('HDEL', job_key(id), 'entry')  -- frees first, so that a full server lets it through
  local fields = {}
  if token == 'scheduled' then
    redis.pcall('ZREM', Q .. 'scheduled', id)
    local parked = unpacked(call('HGET', job_key(id), 'parked') or '') or {}
    for i = 1, #parked, 2 do fields[parked[i]] = parked[i + 1] end
    call('HDEL', job_key(id), 'parked')  -- `due_ms` stays: it says that the job was scheduled
    return nil, fields
  end
  local lane, entry_id = split_token(token)
  local found = lane and read_entry(lane, entry_id)
  if not found then return nil, fields end
  local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1)
  if not pending.err and #pending > 0 then
    drop_entry(lane, entry_id)
    if is_side(lane) then tidy_lane(lane, pending[1][2]) end
    return pending[1][2], found
  end
  if is_side(lane) then  -- no lag is read there
    count_out(lane, redis.call('XDEL', lane_key(lane), entry_id), 1)
    relist(lane)
    return nil, found
  end
  redis.pcall('SADD', Q .. 'tombstones', token)
  return nil, found
end

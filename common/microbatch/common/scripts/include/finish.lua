-- finish: write the one final outcome of a job into its record. Needs base and reply.
-- `facts` are the further fields of the record, in pairs. A time to live of 0 keeps no record.
local function finish(id, client, state, value, ttl_ms, facts)
  local record = job_key(id)
  if tonumber(ttl_ms) > 0 then
    local field = state == 'succeeded' and 'result' or 'error'
    redis.call('HSET', record, 'state', state, 'entry', '', field, value, 'finished_ms', int(now_ms),
      unpack(facts))
    redis.call('PEXPIRE', record, ttl_ms)
    announce(client, id, state, value, true)
  else
    redis.call('DEL', record)
    announce(client, id, state, value, false)
  end
end

-- carried: what a job that is not final still stands on. Needs base and lanes.
-- Who asks for a job heals on the way what nobody else would. Who may only look (the role `observer`) is told the same,
-- and changes nothing.
local function may_heal()
  return not redis.acl_check_cmd or redis.acl_check_cmd('HDEL', job_key('any'), 'field')
end

local function is_carried(id, state, token)
  if state == 'scheduled' then return type(redis.pcall('ZSCORE', Q .. 'scheduled', id)) == 'string' end
  local lane, entry_id = split_token(token or '')
  local found = lane and redis.pcall('XRANGE', lane_key(lane), entry_id, entry_id)
  if not found or found.err or #found == 0 then return false end
  -- Somebody broke the index of the lanes: who asks for a job brings its lane back.
  if is_side(lane) and index_is_ours(lane) and not redis.call('ZSCORE', LANES, lane) and may_heal() then relist(lane) end
  return true
end

local function is_held(token)
  local lane, entry_id = split_token(token)
  if not lane then return false end
  local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1)
  return not pending.err and #pending > 0
end

-- carried: what a job that is not final still stands on. Needs base.
local function is_carried(id, state, token)
  if state == 'scheduled' then return type(redis.pcall('ZSCORE', Q .. 'scheduled', id)) == 'string' end
  local lane, entry_id = split_token(token or '')
  return lane ~= nil and #redis.call('XRANGE', lane_key(lane), entry_id, entry_id) > 0
end

local function is_held(token)
  local lane, entry_id = split_token(token)
  if not lane then return false end
  local pending = redis.pcall('XPENDING', lane_key(lane), GROUP, entry_id, entry_id, 1)
  return not pending.err and #pending > 0
end

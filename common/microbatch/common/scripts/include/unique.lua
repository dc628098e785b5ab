-- unique: at most one job for a key of the caller's choice. Needs base and carried.
-- The hash `unique` has "local id, when the key is free again at the earliest" by key. Nothing clears it when a job
-- ends, because that would cost the end of every job a look; whoever adds a key looks at SAMPLES others by chance
-- instead and drops those that are free, so that the hash stays about as long as there are keys in use.
local SAMPLES = 2

-- The job that has a key, or nil: one that is alive, or that succeeded not longer ago than its submitter said.
-- What failed, was cancelled or expired has it no more, and neither has what nobody will ever run.
local function holder_of(value)
  local id, until_ms = (value or ''):match('^(%S+) (%d+)$')
  if not id then return nil end
  local within = tonumber(until_ms) > now_ms
  local record = redis.pcall('HMGET', job_key(id), 'state', 'entry', 'expires_ms')
  if record.err then return nil end
  local state, token, expires_ms = record[1], record[2] or '', tonumber(record[3] or nil)
  if not state or state == 'succeeded' then return within and id or nil end  -- its outcome may not be kept
  if state ~= 'queued' and state ~= 'scheduled' or not is_carried(id, state, token) then return nil end
  if expires_ms and expires_ms <= now_ms and not is_held(token) then return nil end
  return id
end

local function unique_key_of(options)
  return options:match('^[^\n]-unique=([^%s=]+)')
end

-- The id of the job that has the key which these options name; nil where there is none, or no key.
local function first_of(options)
  local key = unique_key_of(options)
  local value = key and redis.pcall('HGET', Q .. 'unique', key)
  return type(value) == 'string' and holder_of(value) or nil  -- a key that somebody broke must not stop submits
end

local function take_key(key, id, for_ms)
  local others = redis.pcall('HRANDFIELD', Q .. 'unique', SAMPLES, 'WITHVALUES')
  if type(others) ~= 'table' or others.err then others = {} end
  for i = 1, #others, 2 do
    if not holder_of(others[i + 1]) then call('HDEL', Q .. 'unique', others[i]) end
  end
  redis.pcall('HSET', Q .. 'unique', key, id .. ' ' .. int(for_ms > 0 and now_ms + for_ms or 0))
end

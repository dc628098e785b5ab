-- history: what happened to a job beyond its last run, kept in its record; and told to those who listen. Needs base.
-- The record's field `history` has one netstring per event, the oldest first: 'kind at_ms attempt', then, where a run
-- ended with it, that run's batch as in the field `batch`; then, where it failed, a line feed and the beginning of its
-- error. Plain jobs have none: their story is told by the other fields.
local EVENTS_LIMIT, ERROR_HEAD_BYTES = 24, 1024

local function happening(kind, attempt, facts, data)
  local text = kind .. ' ' .. int(now_ms) .. ' ' .. attempt
  if facts then text = text .. ' ' .. facts end
  if data then text = text .. '\n' .. data:sub(1, ERROR_HEAD_BYTES) end
  return text
end

-- A history with one event more; the oldest make room.
local function lengthened(history, event)
  local starts, at = {}, 1
  while at <= #history do
    local colon = history:find(':', at, true)
    local size = colon and tonumber(history:sub(at, colon - 1):match('^%d+$'))
    if not size then return #event .. ':' .. event end  -- somebody broke it
    starts[#starts + 1] = at
    at = colon + size + 1
  end
  local keep_from = starts[#starts - EVENTS_LIMIT + 2] or 1
  return history:sub(keep_from) .. #event .. ':' .. event
end

local function history_of(id)
  local history = redis.pcall('HGET', job_key(id), 'history')
  return type(history) == 'string' and history or ''
end

-- The hash `listeners` has, by local id or '*' (all jobs of the queue), until when (ms) somebody listens: a lease, so
-- that nothing is told, and one look is all that is paid, where nobody does. A message has two netstrings for each
-- event: the local id, and the event. Messages are hints; the record is the truth.
local EVENTS_LIMIT_BYTES = 65536
local listened = nil  -- nil: nobody has looked yet
local told = {}

local function is_listened()
  if listened == nil then listened = call('EXISTS', Q .. 'listeners') == 1 end
  return listened
end

local function tell_to(channel, id, event)
  local message = told[channel]
  if not message then
    message = {bytes = 0, parts = {}}
    told[channel] = message
  end
  if message.bytes > EVENTS_LIMIT_BYTES then
    redis.pcall('PUBLISH', channel, table.concat(message.parts))
    message.bytes, message.parts = 0, {}
  end
  message.parts[#message.parts + 1] = #id .. ':' .. id .. #event .. ':' .. event
  message.bytes = message.bytes + #id + #event
end

local function tell_event(id, kind, attempt, facts, data)
  if not is_listened() then return end
  local leases = redis.pcall('HMGET', Q .. 'listeners', '*', id)
  if leases.err then
    listened = false
    return
  end
  local event = happening(kind, attempt, facts, data)
  if (tonumber(leases[1] or 0) or 0) > now_ms then tell_to(Q .. 'events', id, event) end
  if (tonumber(leases[2] or 0) or 0) > now_ms then tell_to(Q .. 'events:' .. id, id, event) end
end

local function send_events()
  for channel, message in pairs(told) do
    if #message.parts > 0 then redis.pcall('PUBLISH', channel, table.concat(message.parts)) end
  end
  told = {}
end

-- history: what happened to a job beyond its last run, kept in its record. Needs base.
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
    local size = colon and tonumber(history:sub(at, colon - 1))
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

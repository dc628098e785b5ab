-- intake: read entries of a lane into the batch that forms. It is a part of claim: it needs its worker, batch, tokens,
-- bytes, answer and what is rarely needed.
local cleared = 0  -- tombstoned entries that this call dropped
local exhausted = false  -- whether the last read took all that its lane had

local function read(lane, count)
  local command = {'XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', count, 'STREAMS', lane_key(lane), '>'}
  local reply = redis.pcall(unpack(command))
  if reply and reply.err then
    if not reply.err:find('NOGROUP', 1, true) then return reply end
    -- Somebody destroyed the group. From 0 nothing is skipped; what runs already is fenced by its record.
    redis.call('XGROUP', 'CREATE', lane_key(lane), GROUP, '0', 'MKSTREAM')
    reply = redis.call(unpack(command))
  end
  return reply and reply[1] and reply[1][2] or {}
end

local function is_tombstoned(token)
  return redis.call('SREM', Q .. 'tombstones', token) == 1
end

local function drop(lane, entry_id)
  redis.call('XACK', lane_key(lane), GROUP, entry_id)
  redis.call('XDEL', lane_key(lane), entry_id)
end

-- Whether an entry is as submit writes a plain job: most are, and then field names are left out of the answer,
-- because turning each into a reply and back costs both sides more than the claim itself.
local function is_plain(fields)
  return #fields == 6 and fields[5] == 'payload' and fields[3] == 'client' and fields[1] == 'id'
end

-- Take up to `room` live entries of a lane. Returns an error reply, or nil. What was read before an error is
-- ours and must leave with this batch: an entry that no batch names would wait for this worker's death.
local function take(lane, room)
  local plain, others, failed = {}, {}, nil
  local width, held_before = 0, #tokens
  local prefix = lane .. ':'
  local ask = math.min(room, FIRST_READ)
  while ask > 0 and bytes < max_bytes and cleared < CLEARED_LIMIT do
    if peeks then
      ask = more().affordable(lane, room)
      if ask == 0 then break end
    end
    local entries = read(lane, ask)
    if entries.err then
      failed = entries
      break
    end
    local held = #tokens
    for _, entry in ipairs(entries) do
      local entry_id, fields = entry[1], entry[2]
      local token = prefix .. entry_id
      if tombstones > 0 and is_tombstoned(token) then
        drop(lane, entry_id)
        cleared = cleared + 1
      else
        held = held + 1
        tokens[held] = token
        if #others == 0 and is_plain(fields) then
          local payload = fields[6]
          plain[width + 1], plain[width + 2], plain[width + 3], plain[width + 4] =
            entry_id, fields[2], fields[4], payload
          width = width + 4
          bytes = bytes + #payload
        else
          others[#others + 1] = entry
          for _, field in ipairs(fields) do bytes = bytes + #field end
        end
      end
    end
    exhausted = #entries < ask
    if exhausted or peeks then break end
    ask = math.min(room - (held - held_before), bytes > max_bytes / 64 and FIRST_READ or room)
  end
  if #tokens > held_before then
    answer[#answer + 1] = lane
    answer[#answer + 1] = plain
    answer[#answer + 1] = others
  end
  if #tokens > 0 then return nil end
  return failed
end


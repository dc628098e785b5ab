-- hand: give what was just submitted to a worker that sleeps, as its own claim would. Needs base and wake.
-- `offer:{worker}` is what the last claim of an idle worker said of its next ones: "max_batch_size name batch-id ...", an
-- id for each free slot; no other offer of that worker has its name. Its worker's every claim and step aside delete it.
-- The batch is claimed here under the worker's own id. The message with its jobs is a hint as every wake is: where it
-- is lost, the worker's next claim says that id and is answered with the batch.
local HANDED_JOBS = 16
local HANDED_BYTES = 65536
local LOOK_LIMIT_MS = 1500

local function netstring(text)
  return #text .. ':' .. text
end

-- What tells a worker of its batch: the jobs too, where they are plain ones and not large.
local function handed_message(batch, reason, entries)
  local parts, bytes = {'handed ', netstring(batch), netstring(reason), netstring(int(now_ms))}, 0
  for i, entry in ipairs(entries) do
    local fields = entry[2]
    if #fields ~= 6 or fields[5] ~= 'payload' or fields[3] ~= 'client' or fields[1] ~= 'id' then return '1' end
    parts[4 + i] = netstring(entry[1]) .. netstring(fields[2]) .. netstring(fields[4]) .. netstring(fields[6])
    bytes = bytes + #fields[6]
  end
  return bytes <= HANDED_BYTES and table.concat(parts) or '1'
end

-- Whether an idle worker got the jobs. One that missed a look or has no connection is given nothing: nobody would run
-- it until the heartbeat limit.
local function hand(worker, looked_ms)
  if looked_ms < now_ms - LOOK_LIMIT_MS then return false end
  local offer, batches, channel = Q .. 'offer:' .. worker, Q .. 'batches:' .. worker, Q .. 'wake:' .. worker
  local said = redis.pcall('GET', offer)
  local size, name, batch, others = (type(said) == 'string' and said or ''):match('^(%d+) (%S+) (%S+) ?(.*)$')
  if not size or redis.pcall('HGET', batches, batch) then return false end
  local listening = redis.pcall('PUBSUB', 'NUMSUB', channel)
  if listening.err or listening[2] == 0 then return false end
  local most = math.min(tonumber(size), HANDED_JOBS)
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', most, 'STREAMS', main, '>')
  local entries = reply and not reply.err and reply[1] and reply[1][2] or {}
  if #entries == 0 then return false end
  local tokens = {}
  for i, entry in ipairs(entries) do tokens[i] = 'main:' .. entry[1] end
  local reason = #tokens == tonumber(size) and 'size' or 'wait'
  call('HSET', batches, batch, int(now_ms) .. ' ' .. reason .. ' ' .. table.concat(tokens, ' '))
  redis.pcall('ZADD', Q .. 'workers', 'NX', int(now_ms), worker)  -- whoever holds jobs can be found dead
  if others == '' then
    call('ZREM', Q .. 'idle', worker)
    call('DEL', offer)
  else
    call('SET', offer, size .. ' ' .. name .. ' ' .. others, 'KEEPTTL')
  end
  call('PUBLISH', channel, handed_message(batch, reason, entries))
  if #entries == most then wake(false) end  -- what is left needs a worker too
  return true
end

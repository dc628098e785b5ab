-- reply: collect what clients are told about finished jobs, and tell each client once.
-- A fragment is a msgpack array [local id, state, value]; a value above PUSH_LIMIT_BYTES stays in the record
-- and the fragment has two items. One message per client carries its fragments, one after the other.
-- Push is a hint; the record is the truth. Needs base.
local PUSH_LIMIT_BYTES = 65536
local MESSAGE_LIMIT_BYTES = 1048576
local replies = {}
local has_watchers = nil

local function text(value)  -- msgpack str 8; no id of ours is longer, and a foreign one must not raise here
  if #value > 255 then value = value:sub(1, 255) end
  return '\217' .. string.char(#value) .. value
end

local STATE_TEXT = {succeeded = text('succeeded'), failed = text('failed'), cancelled = text('cancelled'),
  expired = text('expired')}

-- A refused PUBLISH (such as a channel that the user may not use) must not stop half-way through a batch.
local function publish(client, reply)
  redis.pcall('PUBLISH', Q .. 'reply:' .. client, table.concat(reply.parts))
end

local function tell(client, fragment)
  local reply = replies[client]
  if not reply then
    reply = {bytes = 0, parts = {}}
    replies[client] = reply
  elseif reply.bytes + #fragment > MESSAGE_LIMIT_BYTES then
    publish(client, reply)
    reply.bytes, reply.parts = 0, {}
  end
  reply.bytes = reply.bytes + #fragment
  reply.parts[#reply.parts + 1] = fragment
end

-- `keep` is false for a job whose record is not kept: then the push is all there is.
local function announce(client, id, state, value, keep)
  local fragment
  if keep and #value > PUSH_LIMIT_BYTES then
    fragment = '\146' .. text(id) .. STATE_TEXT[state]
  else
    fragment = '\147' .. text(id) .. STATE_TEXT[state] .. value
  end
  if client ~= '' then tell(client, fragment) end
  if has_watchers == nil then has_watchers = redis.call('EXISTS', Q .. 'watchers') == 1 end
  if has_watchers then
    local clients = redis.pcall('HGET', Q .. 'watchers', id)
    if type(clients) == 'string' then
      redis.call('HDEL', Q .. 'watchers', id)
      for other in clients:gmatch('%S+') do
        if other ~= client then tell(other, fragment) end
      end
    end
  end
end

local function send_replies()
  for client, reply in pairs(replies) do publish(client, reply) end
end

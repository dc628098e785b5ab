-- reply: collect what clients are told about finished jobs, and tell each client once.
-- A fragment is a msgpack array [local id, state, value]; a value above PUSH_LIMIT_BYTES stays in the record
-- and the fragment has two items. One message per client carries its fragments, one after the other.
-- Push is a hint; the record is the truth. Needs base and history.
local PUSH_LIMIT_BYTES = 65536
local MESSAGE_LIMIT_BYTES = 1048576
local replies = {}
local has_watchers = nil

local function text_head(length)  -- msgpack str 8
  return '\217' .. string.char(length)
end

local STATE = {succeeded = '\217\009succeeded', failed = '\217\006failed', cancelled = '\217\009cancelled',
  expired = '\217\007expired'}

-- A refused PUBLISH (such as a channel that the user may not use) must not stop half-way through a batch.
local function publish(client, reply)
  redis.pcall('PUBLISH', Q .. 'reply:' .. client, table.concat(reply.parts, '', 1, reply.count))
end

-- A fragment stays in pieces until its message leaves: Lua reads every byte of a string that it makes.
local function tell(client, head, id, state, value)
  local reply = replies[client]
  if not reply then
    reply = {bytes = 0, count = 0, parts = {}}
    replies[client] = reply
  end
  local bytes = #head + #id + #state + #value
  if reply.bytes > 0 and reply.bytes + bytes > MESSAGE_LIMIT_BYTES then
    publish(client, reply)
    reply.bytes, reply.count = 0, 0
  end
  local parts, at = reply.parts, reply.count
  parts[at + 1], parts[at + 2], parts[at + 3], parts[at + 4] = head, id, state, value
  reply.bytes, reply.count = reply.bytes + bytes, at + 4
end

-- Whether anybody but the submitters wants to know: one look, and nearly always nobody does.
local function look_for_others()
  local signs = call('EXISTS', Q .. 'watchers', Q .. 'listeners')
  has_watchers = signs > 0 and call('EXISTS', Q .. 'watchers') == 1
  listened = signs > (has_watchers and 1 or 0)
end

-- `keep` is false for a job whose record is not kept: then the push is all there is.
local head, head_length
local function announce(client, id, state, value, keep)
  local name = #id > 255 and id:sub(1, 255) or id  -- no id of ours is longer, and a foreign one must not raise here
  if #name ~= head_length then head, head_length = '\147' .. text_head(#name), #name end
  local first, pushed = head, value
  if keep and #value > PUSH_LIMIT_BYTES then first, pushed = '\146' .. text_head(#name), '' end
  if client ~= '' then tell(client, first, name, STATE[state], pushed) end
  if has_watchers == nil then look_for_others() end
  if has_watchers then
    local clients = redis.pcall('HGET', Q .. 'watchers', id)
    if type(clients) == 'string' then
      redis.call('HDEL', Q .. 'watchers', id)
      for other in clients:gmatch('%S+') do
        if other ~= client then tell(other, first, name, STATE[state], pushed) end
      end
    end
  end
end

local function send_replies()
  for client, reply in pairs(replies) do publish(client, reply) end
  send_events()
end

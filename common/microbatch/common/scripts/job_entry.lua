-- job_entry: the entry of one job that is not finished: its options, and its payload (then with whole headers) where that is asked for.
--
-- Keys:    the queue's prefix
-- Args:    local id, whether with the payload (1 | 0)
-- Returns: {} where it has none: there is no record, or it is final, or what carried it is gone; else
--          {token, payload bytes, fields as a flat list}. The token is 'scheduled' while it waits for its time.
-- Atomic because: the record names the entry, and between two reads the job may move.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include told
local id, with_payload = ARGV[1], ARGV[2] == '1'
local record = redis.pcall('HMGET', job_key(id), 'entry', 'parked')
if record.err or not record[1] then return {} end
local flat
if record[1] == 'scheduled' then
  flat = unpacked(record[2] or '')
else
  local lane, entry_id = split_token(record[1])
  local found = lane and redis.pcall('XRANGE', lane_key(lane), entry_id, entry_id)
  flat = found and not found.err and found[1] and found[1][2]
end
if not flat or #flat % 2 == 1 then return {} end
local kept, size = told_fields(flat)
if with_payload then
  local named = by_name(flat)
  for _, name in ipairs({'payload', 'headers'}) do  -- a seal covers all of the headers, however long they are
    kept[#kept + 1] = name
    kept[#kept + 1] = named[name] or ''
  end
end
return {record[1], size, kept}

-- quarantine: move one entry that nothing can process to the dead stream, with its raw fields.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, token, local id ('' where unknown), client, error (msgpack), ttl_ms,
--          dead_max_length, attempt
-- Returns: 1 moved, 0 the entry was gone
-- Atomic because: the entry must be in exactly one of the two streams; and where a record names this entry,
--          its job becomes final in the same step.
-- @include base
-- @include backlog
-- @include lanes
-- @include history
-- @include reply
-- @include finish
-- @include move
-- @include dead
local worker, batch, token, id, client = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local error_value, ttl_ms, dead_max_length, attempt = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local lane, entry_id = split_token(token)

local fields, flat = read_entry(lane, entry_id)
local live = id ~= '' and redis.pcall('HGET', job_key(id), 'entry')
drop_entry(lane, entry_id)
if fields then
  bury(flat, {token = token, id = id, error = error_value, worker = worker, batch = batch, attempt = attempt},
    dead_max_length)
end
if live == token then
  finish(id, client, 'failed', error_value, ttl_ms, 'attempt', attempt, 'batch', unreasoned(batch, worker))
  send_replies()
end
tidy_left_lanes(worker)
return fields and 1 or 0

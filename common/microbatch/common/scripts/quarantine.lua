-- quarantine: move one entry that nothing can process to the dead stream, with its raw fields.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, token, local id ('' where unknown), client, error type, error message,
--          error value (msgpack), ttl_ms, dead_max_length, attempt
-- Returns: 1 moved, 0 the entry was gone
-- Atomic because: the entry must be in exactly one of the two streams; and where a record names this entry,
--          its job becomes final in the same step.
-- @include base
-- @include reply
-- @include finish
-- @include move
local worker, batch, token, id, client = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local error_type, error_message, error_value = ARGV[6], ARGV[7], ARGV[8]
local ttl_ms, dead_max_length, attempt = ARGV[9], ARGV[10], ARGV[11]
local lane, entry_id = split_token(token)

local fields, flat = read_entry(lane, entry_id)
local live = id ~= '' and redis.pcall('HGET', job_key(id), 'entry')
drop_entry(lane, entry_id)
if live == token then
  finish(id, client, 'failed', error_value, ttl_ms,
    'attempt', attempt, 'worker', worker, 'batch', batch, 'batch_size', '1')
  send_replies()
end
if not fields then return 0 end
local entry = {'dead_token', token, 'dead_ms', int(now_ms), 'dead_worker', worker,
  'dead_error_type', error_type, 'dead_error_message', error_message}
for i = 1, math.min(#flat, FIELDS_LIMIT) do entry[#entry + 1] = flat[i] end
redis.call('XADD', Q .. 'dead', 'MAXLEN', '~', dead_max_length, '*', unpack(entry))
return 1

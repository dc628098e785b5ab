-- redrive: an operator gives dead letters another run, each under its own job id.
--
-- Keys:    the queue's prefix
-- Args:    ids of letters
-- Returns: a code per letter: 0 redriven, 1 no such letter, 2 its job is not failed (it waits, runs, or has another
--          outcome by now, or its id belongs to a job with another payload), 3 the record's key holds something
--          else, 4 it holds no job that could be run
-- Atomic because: the letter goes, and run n+1 of its job opens, in one step; the record keeps how run n ended in
--          its field past_n, as netstrings: state, finished_ms, attempts, error.
-- Attempts and crashes count from the start again, and a deadline that passed does not hold for the new run.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
local REDRIVEN, GONE, NOT_FAILED, WRONG_TYPE, NO_JOB = 0, 1, 2, 3, 4
local FIELDS_LIMIT = 80  -- `dead` writes no more; more than `unpack` takes must not come in
local LEFT_OUT = {attempt = true, crashes = true, failures = true, enqueued_ms = true, expires_ms = true}
local codes, redriven = {}, 0

local function read_letter(letter_id)
  if not letter_id:match('^%d+%-%d+$') then return nil end  -- '5' or '-' would name other letters too
  local found = redis.call('XRANGE', Q .. 'dead', letter_id, letter_id)
  if not found[1] then return nil end
  local flat, facts, entry = found[1][2], {}, {}
  for i = 1, math.min(#flat, FIELDS_LIMIT), 2 do
    facts[flat[i]] = facts[flat[i]] or flat[i + 1]  -- ours come first; a foreign entry may bear their names
    if not LEFT_OUT[flat[i]] and flat[i]:sub(1, 5) ~= 'dead_' then
      entry[#entry + 1] = flat[i]
      entry[#entry + 1] = flat[i + 1]
    end
  end
  return facts, entry
end

local function redrive(letter_id)
  local facts, entry = read_letter(letter_id)
  if not facts then return GONE end
  local id = facts['id']
  if not id or not id:match('^[%w_.:-]+$') or #id > 128 or not facts['payload'] then
    return NO_JOB
  end
  local record = redis.pcall('HMGET', job_key(id), 'state', 'run', 'finished_ms', 'attempt', 'error', 'digest')
  if record.err then return WRONG_TYPE end
  -- The id may have been given to a job with another payload since the record's time to live passed.
  if record[1] and (record[1] ~= 'failed' or (record[6] or '') ~= (facts['dead_digest'] or '')) then return NOT_FAILED end
  local run = tonumber(record[2] or facts['dead_run']) or 1
  local past = packed({'failed', record[3] or facts['dead_ms'] or '0', record[4] or facts['dead_attempt'] or '0',
    record[5] or facts['dead_error'] or ''})

  call('PERSIST', job_key(id))  -- first: users who are no operators may not, and are refused before anything is written
  call('XDEL', Q .. 'dead', letter_id)
  call('HDEL', job_key(id), 'error', 'finished_ms', 'attempt', 'batch', 'ran', 'last_error', 'expires_ms', 'due_ms',
    'progress')
  local token = add_entry(lane_of(facts), entry)
  call('HSET', job_key(id), 'entry', token, 'state', 'queued', 'run', int(run + 1),
    'past_' .. int(run), past, 'history', lengthened('', happening('redriven', '0')))
  if not record[1] then
    call('HSET', job_key(id), 'digest', facts['dead_digest'] or '', 'enqueued_ms', int(now_ms))
  end
  tell_event(id, 'redriven', '0')
  redriven = redriven + 1
  return REDRIVEN
end

for i = 1, #ARGV do codes[i] = redrive(ARGV[i]) end
send_events()
if redriven > 0 then wake(false, redriven) end
return codes

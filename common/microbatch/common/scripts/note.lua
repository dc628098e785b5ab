-- note: keep what processors say about jobs that they run: how far they are, and lines for their logs.
--
-- Keys:    the queue's prefix
-- Args:    most lines, most bytes of a log, then per job: local id, token, attempt, progress ('fraction text', or ''),
--          how many lines this delivery has said with these, count, and in each line: 'age_ms level text'
-- Returns: how many of the jobs are still what their tokens say; of the others nothing was kept
-- Atomic because: between a look at the job and the write it may end or move, and a zombie must not write into the
--          log of the run that follows.
-- Nothing waits for it, and what it writes may be lost: so it is no script that a full server has to let through.
-- A log is one field of the record, netstrings of 'at_ms attempt level text', so that it lives as long as that. The
-- field `log_facts` says how many lines there were, how many are kept, and which delivery wrote up to which of its
-- lines: the same call again adds nothing.
-- @include base
-- @include history
local most_lines, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local HEAD, ROOM = 6, 7 / 8  -- a full log is cut to this part of it, so that not every line moves all others

local function cut(log, kept)
  if kept <= most_lines and #log <= most_bytes then return log, kept end
  local at = 1
  while kept > 1 and (kept > most_lines * ROOM or #log - at + 1 > most_bytes * ROOM) do
    local colon = log:find(':', at, true)
    local size = colon and tonumber(log:sub(at, colon - 1))
    if not size then return '', 0 end  -- somebody broke it
    at = colon + size + 1
    kept = kept - 1
  end
  return log:sub(at), kept
end

local function line_of(said, attempt)
  local age_ms, rest = said:match('^(%d+) (.*)$')
  return int(now_ms - tonumber(age_ms)) .. ' ' .. attempt .. ' ' .. rest
end

local function note(id, token, attempt, progress, upto, first, count)
  local record = redis.pcall('HMGET', job_key(id), 'entry', 'log', 'log_facts')
  if record.err or record[1] ~= token then return 0 end
  local fields = {}
  if progress ~= '' then
    fields = {'progress', int(now_ms) .. ' ' .. attempt .. ' ' .. progress}
    tell_event(id, 'progress', attempt, nil, fields[2])
  end
  if count > 0 and most_lines > 0 then
    local total, kept, writer, written = (record[3] or ''):match('^(%d+) (%d+) (%S+) (%d+)$')
    if writer ~= token or tonumber(written) < upto then
      local parts = {record[2] or ''}
      for i = first, first + count - 1 do
        local line = line_of(ARGV[i], attempt)
        parts[#parts + 1] = #line .. ':' .. line
        tell_event(id, 'log', attempt, nil, line)
      end
      local log, left = cut(table.concat(parts), (tonumber(kept) or 0) + count)
      for _, value in ipairs({'log', log, 'log_facts',
        int((tonumber(total) or 0) + count) .. ' ' .. int(left) .. ' ' .. token .. ' ' .. int(upto)}) do
        fields[#fields + 1] = value
      end
    end
  end
  if #fields > 0 then redis.call('HSET', job_key(id), unpack(fields)) end
  return 1
end

local taken, at = 0, 3
while at < #ARGV do
  local count = tonumber(ARGV[at + 5])
  taken = taken + note(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4]), at + HEAD, count)
  at = at + HEAD + count
end
send_events()
return taken

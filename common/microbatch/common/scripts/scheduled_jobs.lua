-- scheduled_jobs: a page of the jobs that wait for their time, the next one that is due first.
--
-- Keys:    the queue's prefix
-- Args:    the score and the member of the set behind which the page begins ('' and '': at its beginning), how many
-- Returns: {now_ms, score and member behind which the next page begins ('' and '' at the end), jobs}; a job is
--          {member, score, payload bytes, fault ('', 'foreign', 'unknown' or 'garbage': what its record is), last_error
--          (msgpack) or '', fields as a flat list}
-- Atomic because: it only reads. Where a page begins is said by score and member, not by a rank, so that jobs which
--          come and go meanwhile move nobody; thousands may have the same time, so the place is searched for.
-- @include base
-- @include backlog
-- @include lanes
-- @include wake
-- @include history
-- @include park
-- @include told
local score, member, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local PAGE_BYTES, AT_ONCE, ERROR_LIMIT_BYTES = 1048576, 16, 4096
local SET = Q .. 'scheduled'
local jobs, bytes = {}, 0

-- Byte by byte, as the set orders its members; Lua's own order is that of the server's locale.
local function is_behind(one, other)
  for i = 1, math.min(#one, #other) do
    if one:byte(i) ~= other:byte(i) then return one:byte(i) > other:byte(i) end
  end
  return #one > #other
end

-- The rank of the first member behind score and member.
local function first_rank()
  if score == '' then return 0 end
  local low = redis.call('ZCOUNT', SET, '-inf', '(' .. score)
  local high = low + redis.call('ZCOUNT', SET, score, score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_behind(redis.call('ZRANGE', SET, int(middle), int(middle))[1], member) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

local function tell(id, due)
  local record = redis.pcall('HMGET', job_key(id), 'state', 'parked', 'last_error')
  if record.err then return {id, due, '0', 'foreign', '', {}} end
  if record[1] ~= 'scheduled' then return {id, due, '0', 'unknown', '', {}} end
  local fields = unpacked(record[2] or '')
  if not fields or #fields % 2 == 1 then return {id, due, '0', 'garbage', '', {}} end
  local kept, size = told_fields(fields)
  bytes = bytes + #record[2]
  return {id, due, size, '', (record[3] or ''):sub(1, ERROR_LIMIT_BYTES), kept}
end

if type(redis.pcall('ZCARD', SET)) ~= 'number' then return {int(now_ms), '', '', {}} end
local rank = first_rank()
while #jobs < count and bytes < PAGE_BYTES do
  local step = math.min(AT_ONCE, count - #jobs)
  local found = redis.call('ZRANGE', SET, int(rank), int(rank + step - 1), 'WITHSCORES')
  if not found[1] then return {int(now_ms), '', '', jobs} end
  for i = 1, #found, 2 do
    member, score = found[i], found[i + 1]
    jobs[#jobs + 1] = tell(member, score)
    rank = rank + 1
    if bytes >= PAGE_BYTES then break end
  end
end
return {int(now_ms), score, member, jobs}

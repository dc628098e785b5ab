-- dead_letters: a page of the jobs that failed for good, the newest first.
--
-- Keys:    the queue's prefix
-- Args:    newest (a letter's id, '(' before one to leave it out, or '+'), count
-- Returns: letters as XRANGE gives them; fewer than asked where they carry PAGE_BYTES already
-- Atomic because: it only reads, and a page must not hold the server up: the script counts bytes as it goes.
-- @include base
local newest, count = ARGV[1], tonumber(ARGV[2])
local PAGE_BYTES, AT_ONCE = 1048576, 16
local page, bytes = {}, 0

while #page < count and bytes < PAGE_BYTES do
  local found = redis.pcall('XREVRANGE', Q .. 'dead', newest, '-', 'COUNT', math.min(AT_ONCE, count - #page))
  if found.err then break end  -- something else took its place, which the queue's status tells
  for _, letter in ipairs(found) do
    page[#page + 1] = letter
    newest = '(' .. letter[1]
    for _, field in ipairs(letter[2]) do bytes = bytes + #field end
    if bytes >= PAGE_BYTES then break end
  end
  if #found == 0 then break end
end
return page

-- told: what an operator is told about an entry, which is all but its payload. Needs nothing.
-- Entries may be anybody's: what is long for what it should be is left out, and of a name that comes again the last
-- value counts, as for a worker.
local TOLD = {id = true, attempt = true, failures = true, crashes = true, enqueued_ms = true, expires_ms = true,
  priority = true, batch_key = true, cost = true, max_attempts = true, headers = true}
local TOLD_LIMIT_BYTES, TOLD_LIMIT = 4096, 64

-- Returns the fields as a flat list, the size of the payload, and the local id or nil.
local function told_fields(flat)
  local kept, size, id = {}, 0, nil
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if name == 'payload' then
      size = #value
    elseif TOLD[name] and #value <= TOLD_LIMIT_BYTES and #kept < TOLD_LIMIT then
      if name == 'id' then id = value end
      kept[#kept + 1] = name
      kept[#kept + 1] = value
    end
  end
  return kept, size, id
end

-- foreign: keys of ours that hold something else, such as an operator's SET. Needs base.
-- Such a key would make every script that meets it fail, for ever. What it held before is gone anyway, so the
-- value is set aside (`aside:` and the key's name), where the doctor shows it, and the key is made anew.
local OURS = {
  ['lane:main'] = 'stream', ['lane:front'] = 'stream', ['lane:solo'] = 'stream', ['dead'] = 'stream',
  ['recent'] = 'stream',
  ['workers'] = 'zset', ['idle'] = 'zset', ['scheduled'] = 'zset', ['tombstones'] = 'set',
  ['schedules'] = 'zset', ['settings'] = 'hash', ['unique'] = 'hash', ['watchers'] = 'hash', ['listeners'] = 'hash', ['counters'] = 'hash',
  ['gate'] = 'hash', ['about'] = 'hash', ['lost'] = 'hash',
  ['watcher'] = 'string',
  ['lanes'] = 'zset', ['forming'] = 'zset', ['held'] = 'zset', ['ageing'] = 'zset', ['aged'] = 'zset',
  ['ranks'] = 'zset', ['ready:aged'] = 'zset', ['side'] = 'hash', ['limits'] = 'hash',
}

local function foreign_keys()
  local found = {}
  for name, wanted in pairs(OURS) do
    local kind = redis.call('TYPE', Q .. name)
    kind = type(kind) == 'table' and kind.ok or kind
    if kind ~= 'none' and kind ~= wanted then found[#found + 1] = name end
  end
  return found
end

local function set_foreign_aside()
  local found = foreign_keys()
  for _, name in ipairs(found) do redis.call('RENAME', Q .. name, Q .. 'aside:' .. name) end
  return found
end

-- orders: what operators ordered a worker to do. Needs base.
-- The hash `orders:{worker}` has order id -> 'given_ms not_after_ms text'; it goes by itself when all its orders are too
-- late. They stay until the worker has answered, so a lost reply costs a beat. What is no order, and what is too
-- late, is deleted here; so is a key that holds something else, or more than we ever write: it is one incarnation's.
local MOST_ORDERS, MOST_ORDER_BYTES = 64, 2048

local function order_count(key)
  local count = redis.pcall('HLEN', key)
  if type(count) == 'number' and count <= MOST_ORDERS then return count end
  redis.call('DEL', key)
  return 0
end

-- A flat list of ids and texts, the order that was given first at the front.
local function orders_of(worker)
  local key = Q .. 'orders:' .. worker
  if order_count(key) == 0 then return {} end
  local found, listed = {}, redis.call('HGETALL', key)
  for i = 1, #listed, 2 do
    local id, value = listed[i], listed[i + 1]
    local given_ms, not_after_ms, text = value:match('^(%d+) (%d+) (.+)$')
    if given_ms and #value <= MOST_ORDER_BYTES and #id <= 64 and id:match('^%w+$') and tonumber(not_after_ms) >= now_ms then
      found[#found + 1] = {tonumber(given_ms), id, text}
    else
      redis.call('HDEL', key, id)
    end
  end
  table.sort(found, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  local flat = {}
  for _, each in ipairs(found) do
    flat[#flat + 1] = each[2]
    flat[#flat + 1] = each[3]
  end
  return flat
end

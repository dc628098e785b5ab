-- claim: take one batch for a free slot, or say how long to wait for one.
--
-- Keys:    the queue's prefix
-- Args:    worker, batch id, max_batch_size, max_wait_us, max_batch_bytes, spare, offers, terms, fill, hold_us
--          spare: the id of its next batch where this worker has a further free slot; else ''
--          offers: a name where submits may claim for it while it is idle, under batch and spare: only where no batch
--          waits or has a budget; else ''. No two claims of a worker give the same name
--          terms: '' or words name=number: starvation_ms (30000 where absent); bytes and cost, the budgets of a batch
--          fill, hold_us (absent: max_batch_size, no end): due when as many wait, at the end, or while others idle
-- Returns: {'batch', reason, claimed_ms, lane, plain, others, lane, plain, others ...}
--          {'last', reason ...}: the same; nothing else waits, and for its further slot this worker is idle now
--          plain: flat, in short: entry id, local id, client, payload, entry id ...; plain jobs on their first run
--          others: {entry id, fields} as XRANGE gives it; the first entry that is no such job, and all behind it
--          {'watch', wait_us}  nothing is due: this worker waits for the batch to fill, and looks again then
--          {'idle'}            nothing waits, or another worker watches, or the queue is paused
-- Atomic because: the batch forms here, over the whole queue; a worker that dies while it waits holds nothing.
--          Entries and the batch's name are stored in one step: the same batch id again returns the same
--          entries and reads nothing, so a lost reply loses no job.
-- @include base
-- @include backlog
-- @include wake
-- @include idle
local worker, batch = ARGV[1], ARGV[2]
local max_size, max_wait_us, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local spare, offers, terms_said = ARGV[6], ARGV[7], ARGV[8] or ''
local fill, hold_us = tonumber(ARGV[9] or max_size), ARGV[10] and tonumber(ARGV[10])
local batches = Q .. 'batches:' .. worker
local LOOK_US = 1000000
local OFFER_TTL_MS = '3600000'  -- whoever was idle for so long is woken, and offers again
local AHEAD_US = 5000  -- what this very call promotes may get an id after its `now`
local FIRST_READ = 16  -- then sizes are known, and a batch of large payloads stops near max_batch_bytes
local CLEARED_LIMIT = 256  -- a call clears no more tombstoned entries than this; the next one goes on

local tokens, bytes, answer = {}, 0, {'batch', '', now_ms}
local rare, sided, limited, heard = false, false, false, false  -- what there is; looked for at once, below
local tombstones = 0
local room = max_size  -- the most jobs that limits leave
local peeks = false  -- whether jobs are looked at before they are taken: there are budgets, or limits of cost
local burden = nil  -- what the batch has then
local more  -- what is rarely needed
-- @include intake

local function close_batch(reason)
  answer[2] = reason
  if limited then more().pay() end
  redis.call('HSET', batches, batch, int(now_ms) .. ' ' .. reason .. ' ' .. table.concat(tokens, ' '))
  -- Whoever holds jobs can be found dead, also one that was taken over or has left and claims once more.
  redis.call('ZADD', Q .. 'workers', 'NX', int(now_ms), worker)
  if is_watched_by(worker) then redis.call('DEL', Q .. 'watcher') end
  if heard then more().tell_claimed(reason) end
  return answer
end

-- What a claim leaves needs a worker too, due now or later.
local function wake_for_the_rest()
  if waiting_jobs() > 0 or rare and more().work_is_near() then wake(rare) end
end

-- From now on this worker can be woken, and where nothing is to wait it can be given batches under these ids.
local function lie_down(ids)
  redis.call('ZADD', Q .. 'idle', int(now_ms), worker)
  if offers ~= '' then
    redis.call('SET', Q .. 'offer:' .. worker, ARGV[3] .. ' ' .. offers .. ' ' .. ids, 'PX', OFFER_TTL_MS)
  end
end

local function close_main()
  local reason = 'wait'
  if #tokens >= max_size then
    reason = 'size'
  elseif bytes >= max_bytes or burden and burden.is_full or #tokens >= room then
    reason = 'budget'
  end
  close_batch(reason)
  if not exhausted or rare then
    wake_for_the_rest()
  elseif spare ~= '' then
    lie_down(spare)
    answer[1] = 'last'
  end
  return answer
end

local function watch_for(wait_us, threshold)
  redis.call('SET', Q .. 'watcher', int(threshold) .. ' ' .. worker, 'PX',
    int(math.ceil(wait_us / 1000) + tonumber(WAKE_LEASE_MS)))
  return {'watch', math.ceil(wait_us)}
end

local function go_idle()
  if cleared >= CLEARED_LIMIT then return {'watch', 0} end  -- there may be more behind them
  local mine, watcher = is_watched_by(worker)
  local soon_ms = rare and more().due_soon_ms()
  if soon_ms and (mine or not watcher) then return watch_for(soon_ms * 1000, 1) end
  if mine then redis.call('DEL', Q .. 'watcher') end
  lie_down(spare == '' and batch or batch .. ' ' .. spare)
  return {'idle'}
end

-- What queues of plain jobs need not is made where there is more: making these functions costs more than a claim.
local function make_more()
-- @include gate
-- @include lanes
-- @include history
-- @include park
-- @include turns
-- @include allowance
-- @include precedence
  return {is_gated = is_gated, is_listened = is_listened, promote_due = promote_due, send_events = send_events,
    repeat_claim = repeat_claim, stand_by = stand_by, affordable = affordable_now, pay = pay,
    tell_claimed = tell_claimed, work_is_near = work_is_near, next_due_ms = next_due_ms, due_soon_ms = due_soon_ms,
    next_call_us = next_call_us, stand_back = stand_back, take_what_goes_first = take_what_goes_first,
    take_turns = take_turns, terms = terms}
end
local made
more = function()
  made = made or make_more()
  return made
end

local held = redis.call('HGET', batches, batch)
if held then return more().repeat_claim(held) end

redis.call('ZREM', Q .. 'idle', worker)  -- first write: it frees, so a full server still lets work leave
redis.call('DEL', Q .. 'offer:' .. worker)

-- One look at what is rare; each command costs a cold server more than all the Lua here.
local signs = redis.call('EXISTS', lane_key('solo'), lane_key('front'), Q .. 'tombstones', Q .. 'scheduled', Q .. 'lanes',
  Q .. 'limits', Q .. 'listeners', Q .. 'gate')
if signs > 0 then signs = signs - spent_lanes() end
if signs > 0 then
  if more().is_gated('paused') then return more().stand_by() end
  heard = more().is_listened()
  rare = signs > (heard and 1 or 0)
end
if rare then
  tombstones = tombstone_count()
  more().promote_due()
  more().send_events()
  sided = redis.call('EXISTS', Q .. 'lanes') == 1
  limited = redis.call('EXISTS', Q .. 'limits') == 1
end
if terms_said ~= '' then more() end
local done = rare and more().take_what_goes_first()
if done then return done end

if cleared > 0 then tombstones = tombstone_count() end  -- those in other lanes are none of the main lane's

-- 3. New jobs: due when enough of them wait, or when the oldest has waited long enough. Where nothing has to
-- wait, whatever is there is due, and the read alone tells.
if max_wait_us == 0 and tombstones == 0 and not sided then
  local failed = take('main', room)
  if failed then return failed end
  if #tokens > 0 then return close_main() end
  if burden and burden.wait_us then return more().stand_back(burden.wait_us) end
  return go_idle()
end
local waiting, delivered = backlog('main')
local oldest
while true do
  oldest = redis.call('XRANGE', lane_key('main'), delivered and '(' .. delivered or '-', '+', 'COUNT', 1)[1]
  if not oldest or tombstones == 0
    or redis.call('SISMEMBER', Q .. 'tombstones', 'main:' .. oldest[1]) == 0 then break end
  if cleared >= CLEARED_LIMIT then return go_idle() end
  local entries = read('main', 1)  -- exactly this one: a cancelled job must not make its followers due
  if entries.err then return entries end
  redis.call('SREM', Q .. 'tombstones', 'main:' .. oldest[1])
  drop('main', oldest[1])
  cleared = cleared + 1
  waiting, delivered = backlog('main')
  tombstones = tombstone_count()
end
-- Where every lane is read to its end, a tombstone that is left names an entry that somebody else deleted.
if tombstones > 0 and not oldest and waiting == 0 and backlog('front') == 0 and backlog('solo') == 0 then
  redis.call('DEL', Q .. 'tombstones')
end
local wait_us, main = nil, nil  -- until the main lane is due, or how it is due
if oldest then
  local age_us = now_us - entry_ms(oldest[1]) * 1000
  if age_us < 0 and age_us >= -AHEAD_US then age_us = 0 end
  local enough = waiting - tombstones >= fill or hold_us and somebody_is_idle()
  if enough or age_us >= max_wait_us or age_us < 0 then  -- an id in the future counts as due
    main = sided and age_us >= more().terms.starvation_ms * 1000 and 'starved' or 'due'
  else
    wait_us = math.min(max_wait_us - age_us, hold_us or max_wait_us)
  end
end
if sided then
  done = more().take_turns(main)
  if done then return done end
  local next_us = more().next_call_us(max_wait_us)
  if next_us then wait_us = math.min(wait_us or next_us, next_us) end
elseif main then
  local failed = take('main', room)
  if failed then return failed end
  if #tokens > 0 then return close_main() end
  if burden and burden.wait_us then return more().stand_back(burden.wait_us) end
end
if wait_us then
  local mine, watcher = is_watched_by(worker)
  if mine or not watcher then
    local soon_ms = rare and more().next_due_ms()
    wait_us = math.min(wait_us, LOOK_US)
    return watch_for(soon_ms and math.min(wait_us, soon_ms * 1000) or wait_us, wait_us > max_wait_us and 1 or fill)
  end
end
return go_idle()

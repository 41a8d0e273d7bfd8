-- Part of lease.lua. The audit searches for tasks that no worker would find because a key
-- was deleted, and for unused queues. Each call checks some of them and stores the position
-- in the hash audit: cursor is the score in the list of all tasks, scan is the cursor in the
-- set of queues, urgent is '1' if the audit continues at once, pause is the time until which
-- another audit of tasks waits, and next is the time of the next audit.
local AUDITED, SCANNED = 500, 50 -- number of tasks and of queues checked by one call
local PAUSE = 200000 -- time between two calls that check tasks, in microseconds, so that audits take a few per cent of the server's time

-- in_place reports whether a waiting task is in one of the keys that workers read.
local function in_place(q, id, name, entry)
  if entry and #redis.call('XRANGE', base .. 'stream:' .. q, entry, entry) > 0 then return true end
  if redis.call('ZSCORE', base .. 'later:' .. q, id) or redis.call('ZSCORE', base .. 'suspects:' .. q, id) then return true end
  if not redis.call('ZSCORE', aside_key(q, name), id) then return false end
  redis.call('SADD', base .. 'asides:' .. q, name)
  return true
end

-- restore puts a task that no worker would find back into its queue, and adds it to found.
local function restore(id, found)
  local key = base .. 'task:' .. id
  local state, q, name, lost_times, at, entry, lease, owner =
    unpack(redis.call('HMGET', key, 'state', 'queue', 'name', 'lost', 'run_at', 'entry', 'at', 'worker'))
  if state == 'running' then
    local kind, pending = string.match(lease or '', '^(%a+):(.+)$')
    redis.call('SADD', base .. 'queues', q)
    if kind and #grouped(q, 'XPENDING', base .. kind .. ':' .. q, GROUP, pending, pending, 1) > 0 then return end
    redis.call('HSET', key, 'at', pend(q, owner, id)) -- the owner extends the lease, or it expires
  elseif state == 'queued' or state == 'retrying' then
    open_queue(q)
    if in_place(q, id, name, entry) then return end
    schedule(q, id, lost_times, at)
  else
    return
  end
  found[#found + 1] = { id, name, q, 'restored' }
end

-- prune deletes the consumers of owners that no longer exist from the consumer group.
local function prune(key, period)
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', key, GROUP)) do
    local f = {}
    for i = 1, #c, 2 do f[c[i]] = c[i + 1] end
    -- Deleting a consumer drops its pending entries, so it must have none.
    if f.pending == 0 and f.idle > period then redis.call('XGROUP', 'DELCONSUMER', key, GROUP, f.name) end
  end
end

-- close_queue removes the keys of an empty queue that was unused for the given period.
-- Enqueue creates them again.
local function close_queue(q, period)
  local stream, side = base .. 'stream:' .. q, base .. 'side:' .. q
  redis.call('ZREMRANGEBYSCORE', base .. 'dead:' .. q, '-inf', int(now - KEEP * 1000))
  for _, key in ipairs({ stream, side }) do
    grouped(q, 'XPENDING', key, GROUP)
    prune(key, period)
    if redis.call('XLEN', key) > 0 then return end
    local info, f = redis.call('XINFO', 'STREAM', key), {}
    for i = 1, #info, 2 do f[info[i]] = info[i + 1] end
    if string.match(f['last-generated-id'], '^%d+') * 1000 + period * 1000 > now then return end
  end
  for _, kind in ipairs({ 'later:', 'suspects:', 'dead:', 'asides:' }) do
    if redis.call('EXISTS', base .. kind .. q) == 1 then return end
  end
  if redis.call('SISMEMBER', base .. 'paused', q) == 1 then return end
  redis.call('DEL', stream, side)
  redis.call('SREM', base .. 'queues', q)
end

-- audit checks the next tasks or queues. It returns true if it must continue at once.
-- period is the interval between audits in milliseconds.
local function audit(period, found)
  local key = base .. 'audit'
  local cursor, scan, urgent, next_at, pause = unpack(redis.call('HMGET', key, 'cursor', 'scan', 'urgent', 'next', 'pause'))
  if not cursor and not scan then
    next_at = tonumber(next_at or 0)
    if next_at > now and next_at <= now + period * 1000 then return false end
    cursor = '0'
    redis.call('HSET', key, 'cursor', '0', 'next', int(now + period * 1000))
  end
  if cursor then
    pause = tonumber(pause or 0)
    if urgent ~= '1' and pause > now and pause <= now + PAUSE then return false end
    local ids = redis.call('ZRANGEBYSCORE', base .. 'tasks', '(' .. cursor, '+inf', 'WITHSCORES', 'LIMIT', 0, AUDITED)
    audit_requested = false
    for i = 1, #ids, 2 do pcall(restore, ids[i], found) end -- after an error (a broken queue), the next audit tries again
    if audit_requested then return true end
    if #ids == 2 * AUDITED then
      redis.call('HSET', key, 'cursor', ids[#ids], 'pause', int(now + PAUSE))
      return urgent == '1'
    end
    redis.call('HDEL', key, 'cursor', 'urgent')
    redis.call('HSET', key, 'scan', '0')
    return false
  end
  local page = redis.call('SSCAN', base .. 'queues', scan, 'COUNT', SCANNED)
  for _, q in ipairs(page[2]) do pcall(close_queue, q, period) end
  if page[1] == '0' then redis.call('HDEL', key, 'scan') else redis.call('HSET', key, 'scan', page[1]) end
  return false
end

-- handle, number of the call, number of the last call that was answered, owner,
-- max, ttl in ms, microseconds that a rate may lag, milliseconds from one audit
-- to the next, number of queues, queues; then names, each with the microseconds
-- from one start to the next or 0. It returns: microseconds until something is
-- due or -1, what was lost, the leases: the values of LEASED; queues that cannot
-- be served, each with the error.
local handle, call, answered, owner, max, ttl, slack, period, nq = unpack(ARGV, FIRST, FIRST + 8)
local names, lost_ones, leases, given, left = {}, {}, {}, {}, tonumber(max)
for i = FIRST + 9 + nq, #ARGV, 2 do names[ARGV[i]] = tonumber(ARGV[i + 1]) end

local expiring = redis.call('EXISTS', base .. 'expiring') == 1

-- may reports whether a task of that name may begin now: jobs.Rate in Lua.
local begins = {} -- when the next of a limited name may
local function may(name)
  local every = names[name]
  if not every then return false end
  if every == 0 then return true end
  if not begins[name] then begins[name] = tonumber(redis.call('HGET', base .. 'rates', name) or 0) end
  return begins[name] <= now or begins[name] > now + every
end

local function spend(name)
  if names[name] == 0 then return end
  begins[name] = math.max(math.min(begins[name], now), now - slack) + names[name]
  redis.call('HSET', base .. 'rates', name, int(begins[name]))
end

-- LEASED are the fields that a worker is told, in the order that lease.go knows.
-- They are read once: each value that crosses between Redis and Lua has its price.
local LEASED = { 'name', 'state', 'run_at', 'attempts', 'version', 'created', 'args', 'timeout', 'retries', 'sig',
  'group', 'failures', 'error', 'result', 'artifacts' }
local function read(id) return redis.call('HMGET', base .. 'task:' .. id, unpack(LEASED)) end

-- begin hands a task out; t are its values as they were.
local function begin(q, id, at, t)
  local key = base .. 'task:' .. id
  t[4], t[5] = int(t[4] + 1), int(t[5] + 1)
  redis.call('HSET', key, 'state', 'running', 'worker', owner, 'started', int(now), 'at', at, 'attempts', t[4], 'version', t[5])
  if t[4] ~= '1' then redis.call('HSET', key, 'progress', '0', 'note', '', 'excused', '0') end
  t[2] = 'running'
  t[#LEASED + 1], t[#LEASED + 2], t[#LEASED + 3], t[#LEASED + 4] = id, q, owner, int(now)
  leases[#leases + 1] = t
  given[#given + 1] = q .. '\n' .. id .. '\n' .. t[4] .. '\n'
  left = left - 1
  if expiring then redis.call('ZREM', base .. 'expiring', id) end
  changed(id)
end

-- take makes an id pending that is in no stream.
local function take(q, id)
  begin(q, id, pend(q, owner, id), read(id))
end

local function put_aside(q, id, name, at)
  redis.call('ZADD', aside(q, name), at, id)
  redis.call('SADD', base .. 'asides:' .. q, name)
  ring(q)
end

local function missing(q, id) lost_ones[#lost_ones + 1] = { id, 'missing', q, 'missing' } end

-- malformed keeps a message that is no task as a dead letter.
local function malformed(q, entry, fields)
  local id = 'malformed-' .. entry
  local text = 'message ' .. entry .. ' is no task'
  if fields[1] == 'id' then text = text .. ': the data of ' .. fields[2] .. ' is incomplete, or was deleted from Redis' end
  redis.call('HSET', base .. 'task:' .. id, 'name', 'malformed', 'queue', q, 'args', cjson.encode(fields), 'run_at', int(now),
    'created', int(now), 'timeout', '0', 'retries', '0', 'state', 'dead', 'attempts', '0', 'version', '1',
    'finished', int(now), 'error', text, 'failures', failure('', 0, cjson.encode(text)))
  enlist(id)
  bury(q, id)
  lost_ones[#lost_ones + 1] = { id, 'malformed', q, 'dead' }
end

-- recall gives back what was leased to a call whose answer never arrived.
local function recall()
  local key = base .. 'call:' .. handle
  local last = redis.call('HMGET', key, 'n', 'leases')
  if last[1] and tonumber(last[1]) >= tonumber(call) then return false end
  if last[1] and tonumber(last[1]) > tonumber(answered) and last[2] then
    for q, id, attempt in string.gmatch(last[2], '([^\n]+)\n([^\n]+)\n([^\n]+)\n') do
      local task = base .. 'task:' .. id
      if current(task, owner, attempt) then
        leave(q, redis.call('HGET', task, 'at'))
        let_go(owner, id)
        redis.call('HSET', task, 'state', 'queued')
        redis.call('HINCRBY', task, 'version', 1)
        -- Of a broken queue the audit does it, when it is repaired.
        pcall(route, q, id, redis.call('HGET', task, 'lost'))
        changed(id)
      end
    end
  end
  return true
end

-- reap finds expired leases: what XAUTOCLAIM does, and in the same step counts
-- the loss and makes the task anybody's. Somebody looks at a queue that often.
local function reap(q)
  if not redis.call('SET', base .. 'reaped:' .. q, '1', 'NX', 'PX', int(math.max(math.min(ttl / 20, 1000), 5))) then return end
  local before = #lost_ones
  lose(q, lost_ones, nil, 'IDLE', ttl, '-', '+', 100)
  if #lost_ones > before then now = clock() end -- else the next attempt began before the lease was over
end

local function promote(q)
  local key = base .. 'later:' .. q
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(now), 'LIMIT', 0, 1000)) do
    redis.call('ZREM', key, id)
    local h = redis.call('HMGET', base .. 'task:' .. id, 'state', 'lost')
    if h[1] == 'queued' or h[1] == 'retrying' then route(q, id, h[2]) end
    if not h[1] then missing(q, id) end
  end
end

local function suspects(q)
  if redis.call('EXISTS', base .. 'held:' .. owner) == 1 then return end
  for _, id in ipairs(redis.call('ZRANGE', base .. 'suspects:' .. q, 0, 99)) do
    local name = redis.call('HGET', base .. 'task:' .. id, 'name')
    if not name then
      redis.call('ZREM', base .. 'suspects:' .. q, id)
      missing(q, id)
    elseif may(name) then
      spend(name)
      redis.call('ZREM', base .. 'suspects:' .. q, id)
      redis.call('SET', base .. 'held:' .. owner, id)
      return take(q, id)
    end
  end
end

local function from_aside(q)
  local found = {}
  for _, name in ipairs(redis.call('SMEMBERS', base .. 'asides:' .. q)) do
    if may(name) then
      local z = redis.call('ZRANGE', aside(q, name), 0, left - 1, 'WITHSCORES')
      for i = 1, #z, 2 do found[#found + 1] = { z[i], tonumber(z[i + 1]), name } end
    end
  end
  table.sort(found, function(a, b) return a[2] < b[2] end)
  for _, f in ipairs(found) do
    local id, name = f[1], f[3]
    if left > 0 and may(name) then
      redis.call('ZREM', aside(q, name), id)
      if redis.call('EXISTS', aside(q, name)) == 0 then redis.call('SREM', base .. 'asides:' .. q, name) end
      if redis.call('EXISTS', base .. 'task:' .. id) == 1 then
        spend(name)
        take(q, id)
      else
        missing(q, id)
      end
    end
  end
end

-- fresh reads the stream. What the worker does not know, or may not begin now,
-- steps aside, so that it is read once and not again and again.
local function fresh(q, budget)
  local key = base .. 'stream:' .. q
  while left > 0 and budget > 0 do
    local r = grouped(q, 'XREADGROUP', 'GROUP', GROUP, owner, 'COUNT', left, 'STREAMS', key, '>')
    if not r then return end
    for _, e in ipairs(r[1][2]) do
      budget = budget - 1
      local entry, fields = e[1], e[2]
      local id = fields and fields[1] == 'id' and fields[2]
      local t = id and read(id) or {}
      local name, state = t[1], t[2]
      if not (name and t[3] and t[4] and t[5] and t[6]) then
        leave(q, 'stream:' .. entry)
        malformed(q, entry, fields or {})
      elseif state ~= 'queued' and state ~= 'retrying' then
        leave(q, 'stream:' .. entry) -- it has ended meanwhile
      elseif may(name) then
        spend(name)
        begin(q, id, 'stream:' .. entry, t)
      else
        leave(q, 'stream:' .. entry)
        put_aside(q, id, name, t[3])
      end
    end
  end
  return budget <= 0
end

if not recall() then return { '-1', {}, {} } end
local more, wait = false, -1
local function soon(at)
  if at and (wait < 0 or at - now < wait) then wait = math.max(0, at - now) end
end
if expiring then expire() end

local function serve(q)
  reap(q)
  promote(q)
  suspects(q)
  if left > 0 then from_aside(q) end
  more = fresh(q, 1000) or more
  soon(redis.call('ZRANGE', base .. 'later:' .. q, 0, 0, 'WITHSCORES')[2])
  for _, name in ipairs(redis.call('SMEMBERS', base .. 'asides:' .. q)) do
    if names[name] and names[name] > 0 and not may(name) then soon(begins[name]) end
  end
end

local broken = {} -- one queue's trouble is not that of the others
for i = FIRST + 9, FIRST + 8 + nq do
  local q = ARGV[i]
  if left > 0 and redis.call('SISMEMBER', base .. 'queues', q) == 1 and redis.call('SISMEMBER', base .. 'paused', q) == 0 then
    local ok, err = pcall(serve, q)
    if not ok then broken[#broken + 1] = { q, errtext(err) } end
  end
end
if audit(tonumber(period), lost_ones) then more = true end
soon(redis.call('ZRANGE', base .. 'expiring', 0, 0, 'WITHSCORES')[2])
redis.call('HSET', base .. 'call:' .. handle, 'n', call, 'leases', table.concat(given))
redis.call('PEXPIRE', base .. 'call:' .. handle, 3600000)
return { int(more and 0 or wait), lost_ones, leases, broken }

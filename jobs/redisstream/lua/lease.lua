-- Arguments: store handle, number of the call, number of the last call whose response
-- arrived, owner, largest number of leases, lease time in ms, slack of rates in
-- microseconds, interval of audits in ms, number of queues, the queues; then the task names,
-- each with the interval between two starts in microseconds, or 0 without a rate limit.
-- Returns the time until a task is due in microseconds, or -1 if none is; the lost leases;
-- the leases, each with the values of LEASED; and the queues that cannot be served, each
-- with the error.
local handle, call, confirmed, owner, max, ttl, slack, period, nq = unpack(ARGV, FIRST, FIRST + 8)
local names, lost, leases, left = {}, {}, {}, tonumber(max)
local leased = {} -- queue, id and attempt of each new lease, for release_unconfirmed
for i = FIRST + 9 + nq, #ARGV, 2 do names[ARGV[i]] = tonumber(ARGV[i + 1]) end

local expiring = redis.call('EXISTS', base .. 'expiring') == 1

-- may_start reports whether the rate of a name allows a start now, as driver.MayStart does.
local next_start = {} -- earliest next start by task name with a rate limit
local function may_start(name)
  local every = names[name]
  if not every then return false end
  if every == 0 then return true end
  if not next_start[name] then next_start[name] = tonumber(redis.call('HGET', base .. 'rates', name) or 0) end
  return next_start[name] <= now or next_start[name] > now + every
end

local function use_rate(name)
  if names[name] == 0 then return end
  next_start[name] = math.max(math.min(next_start[name], now), now - slack) + names[name]
  redis.call('HSET', base .. 'rates', name, int(next_start[name]))
end

-- LEASED are the fields that a worker gets, in the order of the variable leased in lease.go.
-- They are read once only, because passing a value between Redis and Lua takes time.
local LEASED = { 'name', 'state', 'run_at', 'attempts', 'version', 'created', 'args', 'timeout', 'retries', 'sig',
  'group', 'failures', 'error', 'result', 'artifacts', 'kwargs', 'headers', 'lost' }
local function read(id) return redis.call('HMGET', base .. 'task:' .. id, unpack(LEASED)) end

-- start leases a task; t are its present values.
local function start(q, id, at, t)
  local key = base .. 'task:' .. id
  t[4], t[5] = int(t[4] + 1), int(t[5] + 1)
  redis.call('HSET', key, 'state', 'running', 'worker', owner, 'started', int(now), 'at', at, 'attempts', t[4], 'version', t[5])
  if t[4] ~= '1' then redis.call('HSET', key, 'progress', '0', 'note', '', 'excused', '0') end
  t[2] = 'running'
  t[#LEASED + 1], t[#LEASED + 2], t[#LEASED + 3], t[#LEASED + 4] = id, q, owner, int(now)
  leases[#leases + 1] = t
  leased[#leased + 1] = q .. '\n' .. id .. '\n' .. t[4] .. '\n'
  left = left - 1
  if expiring then redis.call('ZREM', base .. 'expiring', id) end
  publish_changed(id)
end

-- lease_id leases a task whose id is in no stream.
local function lease_id(q, id)
  start(q, id, pend(q, owner, id), read(id))
end

-- set_aside puts a task into the key of its name, which only workers that may start the name
-- read.
local function set_aside(q, id, name, at)
  redis.call('ZADD', aside_key(q, name), at, id)
  redis.call('SADD', base .. 'asides:' .. q, name)
  publish_due(q)
end

local function missing(q, id) lost[#lost + 1] = { id, 'missing', q, 'missing' } end

-- malformed makes a dead letter from a stream entry that is not a task.
local function malformed(q, entry, fields)
  local id = 'malformed-' .. entry
  local text = 'stream entry ' .. entry .. ' is not a task'
  if fields[1] == 'id' then text = text .. ': the data of ' .. fields[2] .. ' is incomplete or was deleted from Redis' end
  redis.call('HSET', base .. 'task:' .. id, 'name', 'malformed', 'queue', q, 'args', cjson.encode(fields), 'run_at', int(now),
    'created', int(now), 'timeout', '0', 'retries', '0', 'state', 'dead', 'attempts', '0', 'version', '1',
    'finished', int(now), 'error', text, 'failures', failure('', 0, cjson.encode(text)))
  enlist(id)
  make_dead(q, id)
  lost[#lost + 1] = { id, 'malformed', q, 'dead' }
end

-- release_unconfirmed releases the tasks that were leased by a call whose response was lost.
-- It returns false if this call arrives after a later call or for the second time.
local function release_unconfirmed()
  local key = base .. 'call:' .. handle
  local last = redis.call('HMGET', key, 'n', 'leases')
  if last[1] and tonumber(last[1]) >= tonumber(call) then return false end
  if last[1] and tonumber(last[1]) > tonumber(confirmed) and last[2] then
    for q, id, attempt in string.gmatch(last[2], '([^\n]+)\n([^\n]+)\n([^\n]+)\n') do
      local task = base .. 'task:' .. id
      if current(task, owner, attempt) then
        remove_entry(q, redis.call('HGET', task, 'at'))
        release_suspect(owner, id)
        redis.call('HSET', task, 'state', 'queued')
        redis.call('HINCRBY', task, 'version', 1)
        -- If the queue is broken, the audit puts the task back after the repair.
        pcall(route, q, id, redis.call('HGET', task, 'lost'))
        publish_changed(id)
      end
    end
  end
  return true
end

-- expire_leases ends expired leases. Unlike XAUTOCLAIM it also counts the lost lease and makes
-- the task due for all workers. For each queue it runs once per twentieth of the lease
-- time, but not more often than every 5 ms and not less often than every second.
local function expire_leases(q)
  if not redis.call('SET', base .. 'reaped:' .. q, '1', 'NX', 'PX', int(math.max(math.min(ttl / 20, 1000), 5))) then return end
  local before = #lost
  lose_leases(q, lost, nil, 'IDLE', ttl, '-', '+', 100)
  if #lost > before then now = clock() end -- so that the next attempt does not start before the lease ended
end

-- promote moves the tasks that have become due out of later:<queue>.
local function promote(q)
  local key = base .. 'later:' .. q
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(now), 'LIMIT', 0, 1000)) do
    redis.call('ZREM', key, id)
    local h = redis.call('HMGET', base .. 'task:' .. id, 'state', 'lost')
    if h[1] == 'queued' or h[1] == 'retrying' then route(q, id, h[2]) end
    if not h[1] then missing(q, id) end
  end
end

local function lease_suspect(q)
  local suspects = redis.call('ZRANGE', base .. 'suspects:' .. q, 0, 99)
  if #suspects == 0 or redis.call('EXISTS', base .. 'held:' .. owner) == 1 then return end
  for _, id in ipairs(suspects) do
    local name = redis.call('HGET', base .. 'task:' .. id, 'name')
    if not name then
      redis.call('ZREM', base .. 'suspects:' .. q, id)
      missing(q, id)
    elseif may_start(name) then
      use_rate(name)
      redis.call('ZREM', base .. 'suspects:' .. q, id)
      redis.call('SET', base .. 'held:' .. owner, id)
      return lease_id(q, id)
    end
  end
end

local function lease_aside(q)
  local found = {}
  for _, name in ipairs(redis.call('SMEMBERS', base .. 'asides:' .. q)) do
    if may_start(name) then
      local z = redis.call('ZRANGE', aside_key(q, name), 0, left - 1, 'WITHSCORES')
      for i = 1, #z, 2 do found[#found + 1] = { z[i], tonumber(z[i + 1]), name } end
    end
  end
  table.sort(found, function(a, b) return a[2] < b[2] end)
  for _, f in ipairs(found) do
    local id, name = f[1], f[3]
    if left > 0 and may_start(name) then
      redis.call('ZREM', aside_key(q, name), id)
      if redis.call('EXISTS', aside_key(q, name)) == 0 then redis.call('SREM', base .. 'asides:' .. q, name) end
      if redis.call('EXISTS', base .. 'task:' .. id) == 1 then
        use_rate(name)
        lease_id(q, id)
      else
        missing(q, id)
      end
    end
  end
end

-- read_stream leases tasks from the stream and reads at most budget entries. A task that the
-- worker cannot run, or whose rate limit allows no start now, is set aside, so that it is not
-- read repeatedly. It returns true if the budget is used up.
local function read_stream(q, budget)
  local key = base .. 'stream:' .. q
  while left > 0 and budget > 0 do
    local r = grouped(q, 'XREADGROUP', 'GROUP', GROUP, owner, 'COUNT', left, 'STREAMS', key, '>')
    if not r then return end
    local last = #r[1][2] < left -- nothing more to read
    for _, e in ipairs(r[1][2]) do
      budget = budget - 1
      local entry, fields = e[1], e[2]
      local id = fields and fields[1] == 'id' and fields[2]
      local t = id and read(id) or {}
      local name, state = t[1], t[2]
      if not (name and t[3] and t[4] and t[5] and t[6]) then
        remove_entry(q, 'stream:' .. entry)
        malformed(q, entry, fields or {})
      elseif state ~= 'queued' and state ~= 'retrying' then
        remove_entry(q, 'stream:' .. entry) -- the task has ended in the meantime
      elseif may_start(name) then
        use_rate(name)
        start(q, id, 'stream:' .. entry, t)
      else
        remove_entry(q, 'stream:' .. entry)
        set_aside(q, id, name, t[3])
      end
    end
    if last then return end
  end
  return budget <= 0
end

if not release_unconfirmed() then return {} end -- the store does not confirm this call, so the next call releases its tasks
local more, wait = false, -1
local function due_at(at)
  if at and (wait < 0 or at - now < wait) then wait = math.max(0, at - now) end
end
if expiring then expire() end

local function serve(q)
  expire_leases(q)
  promote(q)
  lease_suspect(q)
  if left > 0 then lease_aside(q) end
  more = read_stream(q, 1000) or more
  due_at(redis.call('ZRANGE', base .. 'later:' .. q, 0, 0, 'WITHSCORES')[2])
  for _, name in ipairs(redis.call('SMEMBERS', base .. 'asides:' .. q)) do
    if names[name] and names[name] > 0 and not may_start(name) then due_at(next_start[name]) end
  end
end

local broken = {} -- an error of one queue does not affect the others
for i = FIRST + 9, FIRST + 8 + nq do
  local q = ARGV[i]
  if left > 0 and redis.call('SISMEMBER', base .. 'queues', q) == 1 and redis.call('SISMEMBER', base .. 'paused', q) == 0 then
    local ok, err = pcall(serve, q)
    if not ok then broken[#broken + 1] = { q, errtext(err) } end
  end
end
if audit(tonumber(period), lost) then more = true end
if expiring then due_at(redis.call('ZRANGE', base .. 'expiring', 0, 0, 'WITHSCORES')[2]) end
redis.call('HSET', base .. 'call:' .. handle, 'n', call, 'leases', table.concat(leased))
redis.call('PEXPIRE', base .. 'call:' .. handle, 3600000)
return { int(more and 0 or wait), lost, leases, broken }

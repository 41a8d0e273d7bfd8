-- This text precedes every script. KEYS[1] is the prefix of all keys. Its hash tag puts them
-- in one hash slot, so that one script can use all of them, also in a cluster. The keys:
--
--   task:<id>       hash, the task; task.go names its fields
--   queues          set of the queues that have their keys
--   stream:<queue>  stream of due ids; the entries of leased tasks are pending
--   side:<queue>    second stream: pending entries of leased tasks that were not read
--                   from stream:<queue>
--   later:<queue>   ids by due time
--   asides:<queue>  names of tasks that are set aside: released tasks, and tasks that a
--                   worker has skipped because it could not run them
--   aside:…         for each of these names, ids by RunAt
--   suspects:<queue> ids of suspects
--   dead:<queue>    ids of dead letters by the time at which they ended
--   held:<owner>    id of the suspect that is leased by the owner
--   tasks           all ids in the order of acceptance; count is the last number
--   ended           ids of ended tasks by the time at which they ended
--   expiring        ids of tasks that have not started, by Expires
--   call:<handle>   hash, number of the last call of lease.lua by a store handle, and the
--                   leases of that call
--   reaped:<queue>  exists after a check for expired leases, until the next check is due
--   unique:…        id of the task that has a unique key, with a time to live
--   paused          set of the paused queues
--   rates           hash, earliest next start of each limited name
--   marks           hash of marks
--   log:<id>        log of the task
--   group:<id>      hash, the group; group:<id>:results has the results of its members
--   audit           hash, position of the audit
--   reserved:<id>   task:<id> or group:<id> that precedes the reserved task, and its
--                   workflow
--   records:<kind>  keys of records by the time at which they end; the value of a record is
--                   in record:<kind>:<key>
--   format          number of the format of the keys; no script uses it, see checkserver.go
local SUSPECT, MAX_LOST, KEEP, MAX_FAILURES = unpack(ARGV, 1, 4) -- KEEP in milliseconds
local FIRST = 5 -- index of the first argument that belongs to the script itself
local base = KEYS[1] .. ':'
local GROUP = 'workers'
local EXPIRED = 'expired before it started' -- driver.ExpiredReason
local FIELDS = 14 -- number of arguments of a task

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local now = clock()

-- int formats a number as an integer: Lua would format a large one as 1.79e+15. Formatting a
-- large number is slow, and most of them are the same, now.
local formatted, formatted_text
local function int(n)
  if n % 1 == 0 and n > -1e14 and n < 1e14 then return tostring(n) end
  if n ~= formatted then formatted, formatted_text = n, string.format('%.0f', n) end
  return formatted_text
end

local function publish_changed(id) redis.call('PUBLISH', base .. 'changed:' .. id, '') end

-- publish_due wakes the workers that wait for tasks of q. They read when the script has ended,
-- so one message for each queue is enough.
local announced = {} -- queues that have a message
local function publish_due(q)
  if announced[q] then return end
  announced[q] = true
  redis.call('PUBLISH', base .. 'due', q)
end

-- aside_key returns the key of the tasks of a name that are set aside. It contains the length
-- of the queue name, because both parts may contain a colon.
local function aside_key(q, name) return base .. 'aside:' .. #q .. ':' .. q .. ':' .. name end

local function starts(text, prefix) return string.sub(text, 1, #prefix) == prefix end

-- errtext returns the text of an error that pcall has caught.
local function errtext(e) return type(e) == 'table' and e.err or tostring(e) end

-- named adds the command to the text of a permission error, because Redis 7.0 does not name
-- the command.
local function named(r, command)
  if starts(r.err, 'ERR The user') then r.err = string.gsub(r.err, '%s+$', '') .. ' (' .. command .. ')' end
  return r
end

-- try does the same as redis.call, but returns nil after an error that starts with ignored.
local function try(ignored, ...)
  local r = redis.pcall(...)
  if type(r) == 'table' and r.err then
    if not starts(r.err, ignored) then error(named(r, (...))) end
    return nil
  end
  return r
end

local function make_groups(q)
  for _, kind in ipairs({ 'stream:', 'side:' }) do
    try('BUSYGROUP', 'XGROUP', 'CREATE', base .. kind .. q, GROUP, '0', 'MKSTREAM')
  end
end

local function open_queue(q)
  if redis.call('SADD', base .. 'queues', q) == 1 then make_groups(q) end
end

-- ready raises an error if a task cannot be put into q. A script must call it before its
-- first write, because Redis does not roll back.
local is_ready = {} -- keys that this call of the script has checked
local function ready(q, at)
  local later = tonumber(at) > now
  local key = base .. (later and 'later:' or 'stream:') .. q
  if is_ready[key] then return end
  open_queue(q)
  redis.call(later and 'ZCARD' or 'XLEN', key)
  is_ready[key] = true
end

-- request_audit starts an audit. The next calls of lease.lua continue it.
local audit_requested = false -- whether this call of the script has requested one
local function request_audit()
  audit_requested = true
  redis.call('HSET', base .. 'audit', 'cursor', '0', 'urgent', '1')
end

-- grouped does the same as redis.call, for a command that needs the consumer groups of q. If
-- they were deleted, it creates them, and requests an audit to find the tasks that were
-- pending in them.
local function grouped(q, ...)
  local r = try('NOGROUP', ...)
  if r ~= nil then return r end
  make_groups(q)
  request_audit()
  return redis.call(...)
end

-- pend adds an id that is in no stream to the side stream. The entry is pending for owner.
-- pend returns the entry.
local function pend(q, owner, id)
  local key = base .. 'side:' .. q
  local entry, last = redis.call('XADD', key, '*', 'id', id), nil
  repeat -- unread entries, if any, are read first; their leases expire
    local r = grouped(q, 'XREADGROUP', 'GROUP', GROUP, owner, 'COUNT', 100, 'STREAMS', key, '>')
    last = r and r[1][2][#r[1][2]][1]
  until not last or last == entry
  return 'side:' .. entry
end

-- route puts the id of a due task into the stream of its queue, or among the suspects.
local function route(q, id, lost)
  if tonumber(lost or 0) >= tonumber(SUSPECT) then
    redis.call('ZADD', base .. 'suspects:' .. q, int(now), id)
  else
    redis.call('HSET', base .. 'task:' .. id, 'entry', redis.call('XADD', base .. 'stream:' .. q, '*', 'id', id))
  end
  publish_due(q)
end

local function schedule(q, id, lost, at)
  if tonumber(at) > now then
    redis.call('ZADD', base .. 'later:' .. q, at, id)
    publish_due(q)
  else
    route(q, id, lost)
  end
end

-- taken returns nil if an id is free. Otherwise it returns the workflow of the id ('' for
-- none) and, if the id is only reserved, true. A reservation ends when the key of the
-- preceding task or group is deleted.
local function taken(id)
  local task, group, reserved = base .. 'task:' .. id, base .. 'group:' .. id, base .. 'reserved:' .. id
  if redis.call('EXISTS', task, group, reserved) == 0 then return nil end
  local h = redis.call('HMGET', task, 'name', 'workflow', 'group')
  if h[1] then return h[2] or h[3] or '' end
  if redis.call('EXISTS', group) == 1 then return redis.call('HGET', group, 'workflow') or id end
  local after, workflow = string.match(redis.call('GET', reserved), '^(%S+) (%S+)$')
  if redis.call('EXISTS', base .. after) == 1 then return workflow, true end
  redis.call('DEL', reserved)
  return nil
end

-- reserve reserves ids, separated by spaces, for a workflow. after is task:<id> or group:<id>
-- of the preceding task or group. It replaces earlier reservations by the same workflow.
local function reserve(ids, after, workflow)
  for id in string.gmatch(ids, '%S+') do
    local by, is_reserved = taken(id)
    if not by or (is_reserved and by == workflow) then redis.call('SET', base .. 'reserved:' .. id, after .. ' ' .. workflow) end
  end
end

-- reserved runs a command on the reservations of those ids that task precedes.
local function reserved(ids, task, command, ...)
  for id in string.gmatch(ids or '', '%S+') do
    local key = base .. 'reserved:' .. id
    local value = redis.call('GET', key)
    if value and string.match(value, '^%S+') == 'task:' .. task then redis.call(command, key, ...) end
  end
end

-- workflow_of returns the workflow of a task that an older version accepted. Such a task has
-- no field workflow, but its reservation still exists.
local function workflow_of(id)
  return string.match(redis.call('GET', base .. 'reserved:' .. id) or '', ' (%S+)$')
end

-- unreserve deletes the reservations of a workflow for the ids.
local function unreserve(ids, workflow)
  for id in string.gmatch(ids or '', '%S+') do
    local by, is_reserved = taken(id)
    if is_reserved and by == workflow then redis.call('DEL', base .. 'reserved:' .. id) end
  end
end

-- set_retention starts the retention time of a task, of its log and of the reservations of
-- its followers.
local function set_retention(id)
  reserved(redis.call('HGET', base .. 'task:' .. id, 'followers'), id, 'PEXPIRE', KEEP)
  redis.call('PEXPIRE', base .. 'task:' .. id, KEEP)
  redis.call('PEXPIRE', base .. 'log:' .. id, KEEP)
  redis.call('ZADD', base .. 'ended', int(now), id)
end

-- enlist adds an id to the list of all tasks, and removes up to three ids of tasks that no
-- longer exist.
local none_expired = false -- whether all such ids are removed
local function enlist(id)
  redis.call('ZREM', base .. 'ended', id)
  redis.call('ZADD', base .. 'tasks', int(redis.call('INCR', base .. 'count')), id)
  if none_expired then return end
  local expired = redis.call('ZRANGEBYSCORE', base .. 'ended', '-inf', int(now - KEEP * 1000), 'LIMIT', 0, 3)
  none_expired = #expired == 0
  for _, old in ipairs(expired) do
    if redis.call('EXISTS', base .. 'task:' .. old) == 0 then redis.call('ZREM', base .. 'tasks', old) end
    redis.call('ZREM', base .. 'ended', old)
  end
end

-- set_expires stores the Expires of a task, 0 for none.
local function set_expires(id, at)
  if not at or at == '0' then return end
  redis.call('ZADD', base .. 'expiring', at, id)
  redis.call('HSET', base .. 'task:' .. id, 'expires', at)
end

-- accept stores a task with the given values. It returns false if the id is in use or
-- reserved by another workflow. If place is given, the task is the member at that place of the
-- group, and workflow is the id of the group or of the chain of which the group is a part.
local function accept(values, workflow, group, place)
  local id, name, q, args, at, timeout, retries, sig, until_, followers, digest, kwargs, headers, onerror = unpack(values, 1, FIELDS)
  local key = base .. 'task:' .. id
  local by, is_reserved = taken(id)
  if by and not (is_reserved and by == workflow) then return false end
  if at == '0' then at = int(now) end
  ready(q, at)
  enlist(id) -- before the hash is written, so that an error leaves no incomplete task
  set_expires(id, until_)
  redis.call('HSET', key, 'name', name, 'queue', q, 'args', args, 'run_at', at, 'created', int(now),
    'timeout', timeout, 'retries', retries, 'state', 'queued', 'attempts', '0', 'version', '1')
  if sig ~= '' then redis.call('HSET', key, 'sig', sig) end
  if digest ~= '' then redis.call('HSET', key, 'digest', digest) end
  if kwargs ~= '' then redis.call('HSET', key, 'kwargs', kwargs) end
  if headers ~= '' then redis.call('HSET', key, 'headers', headers) end
  if onerror ~= '' then redis.call('HSET', key, 'onerror', onerror) end
  if workflow then
    if place then redis.call('HSET', key, 'group', group, 'place', place) end
    if workflow ~= group then redis.call('HSET', key, 'workflow', workflow) end
    if is_reserved then redis.call('DEL', base .. 'reserved:' .. id) end
    if followers ~= '' then
      redis.call('HSET', key, 'followers', followers)
      reserve(followers, 'task:' .. id, workflow)
    end
  end
  schedule(q, id, 0, at)
  return true
end

-- values_at returns the values of a task that start at ARGV[i].
local function values_at(i) return { unpack(ARGV, i, i + FIELDS - 1) } end

-- GROUP_FIELDS is the number of arguments of a group before its tasks: id, digest, ids of the
-- members as JSON, number that says how the callback gets the results (driver.GroupResults),
-- number of callbacks (0 or 1), number of members.
local GROUP_FIELDS = 6

-- group_tasks returns the index of the first task of the group that starts at ARGV[i], and the
-- number of its tasks.
local function group_tasks(i) return i + GROUP_FIELDS, ARGV[i + 4] + ARGV[i + 5] end

-- accept_group stores the group that starts at ARGV[i] and its tasks. All ids must be free or
-- reserved by workflow, the id of the group or of the chain of which it is a part.
local function accept_group(i, workflow)
  local id, digest, ids, results, has, size = unpack(ARGV, i, i + GROUP_FIELDS - 1)
  local key, first = base .. 'group:' .. id, i + GROUP_FIELDS
  local followers = {}
  for t = first, first + (size + has - 1) * FIELDS, FIELDS do
    if ARGV[t + 9] ~= '' then followers[#followers + 1] = ARGV[t + 9] end
  end
  redis.call('HSET', key, 'members', ids, 'size', size, 'succeeded', '0', 'failed', '0', 'created', int(now), 'immutable', results,
    'digest', digest, 'followers', table.concat(followers, ' '))
  if workflow ~= id then
    redis.call('HSET', key, 'workflow', workflow)
    redis.call('DEL', base .. 'reserved:' .. id)
  end
  redis.call('DEL', key .. ':results')
  for m = 0, size - 1 do accept(values_at(first + m * FIELDS), workflow, id, m) end
  if has == '1' then
    local cb, name, q, args, at, timeout, retries, sig, until_, after, _, kwargs, headers, onerror = unpack(values_at(first + size * FIELDS))
    redis.call('HSET', key, 'callback', cb, 'name', name, 'queue', q, 'args', args, 'at', at,
      'timeout', timeout, 'retries', retries, 'sig', sig, 'expires', until_, 'after_callback', after,
      'kwargs', kwargs, 'headers', headers, 'onerror', onerror)
    reserve(cb .. ' ' .. after, 'group:' .. id, workflow)
  end
end

-- next_group enqueues the group that starts at ARGV[i], which follows a task of a workflow. A
-- group of which an id is not reserved by the workflow is skipped.
local function next_group(i, workflow)
  local first, tasks = group_tasks(i)
  local ids = { ARGV[i] }
  for t = first, first + (tasks - 1) * FIELDS, FIELDS do ids[#ids + 1] = ARGV[t] .. ' ' .. ARGV[t + 9] end
  for id in string.gmatch(table.concat(ids, ' '), '%S+') do
    local by, is_reserved = taken(id)
    if not is_reserved or by ~= workflow then return end
  end
  accept_group(i, workflow)
end

-- accept_onerror enqueues the tasks that follow a task that ends as dead or failed without a
-- worker. onerror is the field onerror of the task: a list of tasks, each the list of its
-- values followed by 1 if the task is immutable, else 0.
local function accept_onerror(onerror, workflow, reason)
  if not onerror or onerror == '' then return end
  for _, values in ipairs(cjson.decode(onerror)) do
    if values[FIELDS + 1] == '0' then
      local inner = string.sub(values[4], 2, -2)
      values[4] = '[' .. cjson.encode(reason) .. (inner ~= '' and ',' or '') .. inner .. ']'
    end
    accept(values, workflow)
  end
end

-- remove_entry removes a pending entry and thus ends its lease. at is the kind of the stream
-- and the entry, for example stream:1-0.
local function remove_entry(q, at)
  local kind, entry = string.match(at, '^(%a+):(.+)$')
  try('WRONGTYPE', 'XACK', base .. kind .. ':' .. q, GROUP, entry)
  try('WRONGTYPE', 'XDEL', base .. kind .. ':' .. q, entry)
end

local function release_suspect(owner, id)
  if redis.call('GET', base .. 'held:' .. owner) == id then
    redis.call('DEL', base .. 'held:' .. owner)
  end
end

-- failure adds a failure to lines, the failures of a task, and returns them. text is JSON.
local function failure(lines, attempt, text)
  lines = lines or ''
  local _, n = string.gsub(lines, '\n', '')
  if n >= tonumber(MAX_FAILURES) then lines = string.sub(lines, string.find(lines, '\n') + 1) end
  return lines .. '{"us":' .. int(now) .. ',"attempt":' .. attempt .. ',"error":' .. text .. '}\n'
end

-- member_ended counts a member of a group that has ended. If all members have succeeded, it
-- enqueues the callback. If this is the first member that failed, it stores the callback as
-- failed, or as cancelled if the workflow was cancelled. driver.GroupReason has shortened
-- reason.
local function member_ended(group, place, id, success, result, reason)
  if not group then return end
  local key, results = base .. 'group:' .. group, base .. 'group:' .. group .. ':results'
  local g = redis.call('HMGET', key, 'size', 'succeeded', 'failed', 'callback', 'queue', 'workflow')
  if not g[1] then return end
  local workflow = g[6] or group
  local size, good, bad = tonumber(g[1]), tonumber(g[2]), tonumber(g[3])
  if success then
    good = redis.call('HINCRBY', key, 'succeeded', 1)
    if g[4] then redis.call('HSET', results, place, result ~= '' and result or 'null') end
  else
    bad = redis.call('HINCRBY', key, 'failed', 1)
    if bad == 1 then redis.call('HSET', key, 'failed_id', id, 'reason', reason) end
  end
  if good + bad == size then
    redis.call('HSET', key, 'finished', int(now))
    redis.call('PEXPIRE', key, KEEP)
  end
  local first_bad = not success and bad == 1
  if not g[4] or not (first_bad or good == size) then
    if good + bad == size then redis.call('DEL', results) end
    return
  end
  local cb, q = g[4], g[5]
  local task = base .. 'task:' .. cb
  local by, is_reserved = taken(cb)
  if not by or (is_reserved and by == workflow) then
    local c = redis.call('HMGET', key, 'name', 'args', 'at', 'timeout', 'retries', 'sig', 'immutable', 'expires', 'after_callback', 'aborted',
      'kwargs', 'headers', 'onerror')
    local args, at = c[2], c[3]
    if at == '0' then at = int(now) end
    if not first_bad and c[7] ~= '1' then -- driver.GroupResults: 0 append, 1 immutable, 2 prepend, 3 list
      local all, inner = {}, string.sub(args, 2, -2)
      for i = 0, size - 1 do all[#all + 1] = redis.call('HGET', results, i) end
      if c[7] == '3' then all = { '[' .. table.concat(all, ',') .. ']' } end
      if inner ~= '' then table.insert(all, c[7] == '0' and 1 or #all + 1, inner) end
      args = '[' .. table.concat(all, ',') .. ']'
    end
    redis.call('HSET', task, 'name', c[1], 'queue', q, 'args', args, 'run_at', at, 'created', int(now),
      'timeout', c[4], 'retries', c[5], 'state', 'queued', 'attempts', '0', 'version', '1')
    redis.call('HSET', task, 'workflow', workflow)
    redis.call('DEL', base .. 'reserved:' .. cb)
    for i, field in pairs({ [6] = 'sig', [11] = 'kwargs', [12] = 'headers', [13] = 'onerror' }) do
      if c[i] and c[i] ~= '' then redis.call('HSET', task, field, c[i]) end
    end
    if first_bad then
      unreserve(c[9], workflow)
    elseif c[9] and c[9] ~= '' then
      redis.call('HSET', task, 'followers', c[9])
      reserve(c[9], 'task:' .. cb, workflow)
    end
    if not first_bad then set_expires(cb, c[8]) end
    enlist(cb)
    open_queue(q)
    if first_bad and c[10] then
      redis.call('HSET', task, 'state', 'cancelled', 'finished', int(now), 'error', reason, 'aborted', '1')
      set_retention(cb)
      publish_changed(cb)
    elseif first_bad then
      local text = 'member ' .. id .. ' of the group did not succeed'
      if reason ~= '' then text = text .. ': ' .. reason end
      redis.call('HSET', task, 'state', 'failed', 'finished', int(now), 'error', text,
        'failures', failure('', 0, cjson.encode(text)))
      set_retention(cb)
      publish_changed(cb)
      accept_onerror(c[13], workflow, text)
    else
      schedule(q, cb, 0, at)
    end
  end
  redis.call('DEL', results)
end

local function make_dead(q, id)
  redis.call('ZADD', base .. 'dead:' .. q, int(now), id)
  set_retention(id)
  redis.call('ZREMRANGEBYSCORE', base .. 'dead:' .. q, '-inf', int(now - KEEP * 1000))
end

-- owned returns the pending entries of an owner in a stream. It returns none if the key is
-- not a stream with the consumer group.
local function owned(stream, owner)
  local r = redis.pcall('XPENDING', base .. stream, GROUP, '-', '+', 1000, owner)
  return r.err and {} or r
end

-- excuse_others marks the other running tasks of the owner of a lost suspect. If their
-- leases expire, these are not counted as lost.
local function excuse_others(owner)
  for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do
    for _, kind in ipairs({ 'stream:', 'side:' }) do
      for _, p in ipairs(owned(kind .. q, owner)) do
        local e = redis.call('XRANGE', base .. kind .. q, p[1], p[1])
        if e[1] then redis.call('HSET', base .. 'task:' .. e[1][2][2], 'excused', '1') end
      end
    end
  end
end

-- drop_meta removes the result that a task had while it ran.
local function drop_meta(key)
  if redis.call('HDEL', key, 'meta') == 1 then redis.call('HDEL', key, 'result') end
end

-- lease_lost ends a lost lease. It returns the name and new state of the task. If certain is
-- true, this task caused the loss, and the other leases of the owner are not affected.
local function lease_lost(q, id, owner, excused, certain)
  local key = base .. 'task:' .. id
  local h = redis.call('HMGET', key, 'name', 'lost', 'attempts', 'excused', 'at', 'group', 'place', 'failures', 'workflow', 'onerror')
  local times = tonumber(h[2] or 0)
  local held = redis.call('GET', base .. 'held:' .. owner)
  remove_entry(q, h[5])
  drop_meta(key)
  local counts = true
  if times >= tonumber(SUSPECT) then
    release_suspect(owner, id)
    if not certain then excuse_others(owner) end
  elseif certain then
    counts = true
  elseif excused or h[4] == '1' or (held and held ~= id) then
    counts = false
  end
  if counts then times = times + 1 end
  redis.call('HINCRBY', key, 'version', 1)
  if times < tonumber(MAX_LOST) then
    redis.call('HSET', key, 'state', 'queued', 'lost', times)
    route(q, id, times)
    publish_changed(id)
    return h[1], 'queued'
  end
  local reason = 'lease lost ' .. times .. ' times: the task may crash or block its worker'
  redis.call('HSET', key, 'state', 'dead', 'lost', times, 'finished', int(now), 'error', reason,
    'failures', failure(h[8], h[3], cjson.encode(reason)))
  make_dead(q, id)
  accept_onerror(h[10], h[9] or h[6] or nil, reason)
  member_ended(h[6], h[7], id, false, '', reason)
  publish_changed(id)
  return h[1], 'dead'
end

-- lose_leases finds leases in a queue by XPENDING with the given arguments, and ends them as
-- lost. It adds id, name, queue and new state of each task to all. If suspect is the id
-- of a task, only the lease of that task is counted.
local function lose_leases(q, all, suspect, ...)
  for _, kind in ipairs({ 'stream', 'side' }) do
    local key = base .. kind .. ':' .. q
    for _, p in ipairs(grouped(q, 'XPENDING', key, GROUP, ...)) do
      local e = redis.call('XRANGE', key, p[1], p[1])
      local id = e[1] and e[1][2][2]
      if id and redis.call('EXISTS', base .. 'task:' .. id) == 0 then
        all[#all + 1] = { id, 'missing', q, 'missing' }
        remove_entry(q, kind .. ':' .. p[1])
      elseif id and redis.call('HGET', base .. 'task:' .. id, 'at') == kind .. ':' .. p[1] then
        local name, state = lease_lost(q, id, p[2], suspect and suspect ~= id)
        all[#all + 1] = { id, name, q, state }
      else
        remove_entry(q, kind .. ':' .. p[1])
      end
    end
  end
end

-- current reports whether the lease of an owner and attempt is the present lease of a task.
local function current(key, owner, attempt)
  local h = redis.call('HMGET', key, 'state', 'worker', 'attempts')
  return h[1] == 'running' and h[2] == owner and h[3] == attempt
end

-- release ends a lease without an outcome. The task is set aside with its RunAt, so that it
-- comes before tasks that became due later. If at is in the future, the task is due then.
local function release(id, owner, at)
  local key = base .. 'task:' .. id
  local entry, q, times, name, run_at = unpack(redis.call('HMGET', key, 'at', 'queue', 'lost', 'name', 'run_at'))
  local later = at and tonumber(at) > now
  if later then ready(q, at) end
  remove_entry(q, entry)
  drop_meta(key)
  redis.call('HSET', key, 'state', 'queued')
  redis.call('HINCRBY', key, 'version', 1)
  if tonumber(times or 0) >= tonumber(SUSPECT) then release_suspect(owner, id) end
  if later then
    redis.call('HSET', key, 'run_at', at)
    schedule(q, id, times, at)
  elseif tonumber(times or 0) >= tonumber(SUSPECT) then
    route(q, id, times)
  else
    redis.call('ZADD', aside_key(q, name), run_at, id)
    redis.call('SADD', base .. 'asides:' .. q, name)
    publish_due(q)
  end
  publish_changed(id)
  return later and 'scheduled' or 'queued'
end

-- cancel ends a task as cancelled. It returns 0 if the task has ended already, else 1.
local function cancel(id, reason)
  local key = base .. 'task:' .. id
  local h = redis.call('HMGET', key, 'state', 'queue', 'at', 'lost', 'group', 'place', 'worker', 'name', 'entry')
  local state, q = h[1], h[2]
  local waiting = state == 'queued' or state == 'retrying'
  if not waiting and state ~= 'running' then return 0 end
  if waiting then
    -- The task is in one of these keys. Its stream entry is not pending.
    redis.call('ZREM', base .. 'later:' .. q, id)
    redis.call('ZREM', base .. 'suspects:' .. q, id)
    redis.call('ZREM', aside_key(q, h[8]), id)
    if h[9] then try('WRONGTYPE', 'XDEL', base .. 'stream:' .. q, h[9]) end
  else
    remove_entry(q, h[3])
    if tonumber(h[4] or 0) >= tonumber(SUSPECT) then
      release_suspect(h[7], id)
      publish_due(q)
    end
  end
  redis.call('ZREM', base .. 'expiring', id)
  drop_meta(key)
  redis.call('HSET', key, 'state', 'cancelled', 'finished', int(now), 'error', reason)
  redis.call('HINCRBY', key, 'version', 1)
  set_retention(id)
  member_ended(h[5], h[6], id, false, '', reason)
  publish_changed(id)
  return 1
end

-- expire cancels tasks that have not started and whose Expires has passed.
local function expire()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. 'expiring', '-inf', int(now), 'LIMIT', 0, 200)) do
    redis.call('ZREM', base .. 'expiring', id)
    local h = redis.call('HMGET', base .. 'task:' .. id, 'state', 'attempts')
    if h[1] == 'queued' and h[2] == '0' then cancel(id, EXPIRED) end
  end
end

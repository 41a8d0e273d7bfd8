-- This text precedes finish.lua and end.lua.
local entries_of = {} -- entries to remove, by stream
local ended_ids = {} -- times and ids to add to the list of ended tasks

-- drop_entry adds an entry to those that are removed together at the end: removing many
-- costs little more than removing one.
local function drop_entry(q, at)
  local kind, entry = string.match(at, '^(%a+):(.+)$')
  local key = base .. kind .. ':' .. q
  if not entries_of[key] then entries_of[key] = {} end
  entries_of[key][#entries_of[key] + 1] = entry
end

local function finish(first)
  local id, owner, attempt, token, state, result, text, json, reason, artifacts, at, n, groups = unpack(ARGV, first, first + 12)
  local key = base .. 'task:' .. id
  -- These are the fields that every outcome needs. A search for a field that a hash does not
  -- have reads the whole hash, so others are read below if they are needed.
  local status, worker, attempts, at_entry, q, version, lost, group, logged, followers, meta = unpack(redis.call('HMGET', key,
    'state', 'worker', 'attempts', 'at', 'queue', 'version', 'lost', 'group', 'logged', 'followers', 'meta'))
  if status ~= 'running' or worker ~= owner or attempts ~= attempt then
    -- A repeated call after a lost reply returns 1 again.
    return (worker == owner and attempts == attempt and redis.call('HGET', key, 'fin') == token) and 1 or 0
  end
  -- Check everything that can fail before the first write.
  if state == 'retrying' then ready(q, at) end
  local next_tasks = {} -- indexes of all next tasks, and of those in groups
  for i = 0, n - 1 do next_tasks[i + 1] = first + 13 + i * FIELDS end
  local next_groups, i = {}, first + 13 + n * FIELDS
  for g = 1, groups do
    local at_task, tasks = group_tasks(i)
    next_groups[g] = i
    for t = 0, tasks - 1 do next_tasks[#next_tasks + 1] = at_task + t * FIELDS end
    i = at_task + tasks * FIELDS
  end
  for _, t in ipairs(next_tasks) do ready(ARGV[t + 2], ARGV[t + 4]) end
  local after = group and redis.call('HMGET', base .. 'group:' .. group, 'queue', 'at')
  if after and after[1] then ready(after[1], after[2]) end
  drop_entry(q, at_entry)
  if tonumber(lost or 0) >= tonumber(SUSPECT) then
    release_suspect(owner, id)
    publish_due(q) -- the owner may lease another suspect now
  end
  local set = { 'state', state, 'fin', token, 'version', int(version + 1) }
  local function put(k, v) set[#set + 1], set[#set + 2] = k, v end
  -- A first attempt has no old values.
  if text ~= '' or attempt ~= '1' then put('error', text) end
  if artifacts ~= '[]' or attempt ~= '1' then put('artifacts', artifacts) end
  if state == 'retrying' then
    at = int(math.max(tonumber(at), now))
    put('run_at', at)
  else
    put('finished', int(now))
  end
  if state == 'success' then
    put('progress', '100')
    if result ~= '' then put('result', result) end
  else
    put('failures', failure(redis.call('HGET', key, 'failures'), attempt, json))
  end
  if meta then drop_meta(key) end
  redis.call('HSET', key, unpack(set))
  if state == 'retrying' then
    schedule(q, id, lost, at)
  elseif state == 'dead' then
    make_dead(q, id)
  else
    redis.call('PEXPIRE', key, KEEP)
    if logged then redis.call('PEXPIRE', base .. 'log:' .. id, KEEP) end
    ended_ids[#ended_ids + 1], ended_ids[#ended_ids + 2] = int(now), id
  end
  if group and state ~= 'retrying' then
    member_ended(group, redis.call('HGET', key, 'place'), id, state == 'success', result, reason)
  end
  local workflow = #next_tasks + #next_groups > 0 and (redis.call('HGET', key, 'workflow') or group)
  if not workflow and n ~= '0' then workflow = workflow_of(id) end
  for t = 1, n do accept(values_at(next_tasks[t]), workflow or nil) end
  for _, g in ipairs(next_groups) do next_group(g, workflow) end
  if followers and state == 'success' then
    reserved(followers, id, 'DEL') -- followers that were not accepted above will never be enqueued
  elseif followers and state ~= 'retrying' then
    reserved(followers, id, 'PEXPIRE', KEEP)
  end
  publish_changed(id)
  return 1
end

-- flush removes the entries of ended attempts and lists the ended tasks.
local function flush()
  for key, entries in pairs(entries_of) do
    try('WRONGTYPE', 'XACK', key, GROUP, unpack(entries))
    try('WRONGTYPE', 'XDEL', key, unpack(entries))
  end
  if #ended_ids > 0 then redis.call('ZADD', base .. 'ended', unpack(ended_ids)) end
end

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
  local h = redis.call('HMGET', key, 'state', 'worker', 'attempts', 'at', 'queue', 'lost', 'group', 'place', 'failures', 'fin', 'version',
    'logged', 'workflow', 'followers', 'meta')
  if h[1] ~= 'running' or h[2] ~= owner or h[3] ~= attempt then
    -- A repeated call after a lost reply returns 1 again.
    return (h[10] == token and h[2] == owner and h[3] == attempt) and 1 or 0
  end
  local q = h[5]
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
  local after = h[7] and redis.call('HMGET', base .. 'group:' .. h[7], 'queue', 'at')
  if after and after[1] then ready(after[1], after[2]) end
  drop_entry(q, h[4])
  if tonumber(h[6] or 0) >= tonumber(SUSPECT) then
    release_suspect(owner, id)
    publish_due(q) -- the owner may lease another suspect now
  end
  local set = { 'state', state, 'fin', token, 'version', int(h[11] + 1) }
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
    put('failures', failure(h[9], attempt, json))
  end
  if h[15] then drop_meta(key) end
  redis.call('HSET', key, unpack(set))
  if state == 'retrying' then
    schedule(q, id, h[6], at)
  elseif state == 'dead' then
    make_dead(q, id)
  else
    redis.call('PEXPIRE', key, KEEP)
    if h[12] then redis.call('PEXPIRE', base .. 'log:' .. id, KEEP) end
    ended_ids[#ended_ids + 1], ended_ids[#ended_ids + 2] = int(now), id
  end
  if state ~= 'retrying' then member_ended(h[7], h[8], id, state == 'success', result, reason) end
  local workflow = h[13] or h[7]
  if not workflow and n ~= '0' then workflow = workflow_of(id) end
  for t = 1, n do accept(values_at(next_tasks[t]), workflow or nil) end
  for _, g in ipairs(next_groups) do next_group(g, workflow) end
  if h[14] and state == 'success' then
    reserved(h[14], id, 'DEL') -- followers that were not accepted above will never be enqueued
  elseif h[14] and state ~= 'retrying' then
    reserved(h[14], id, 'PEXPIRE', KEEP)
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

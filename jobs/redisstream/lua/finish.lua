-- number of finishes; then each of them: the number of its values, and these: id,
-- owner, attempt, token, state, result, error, the same as JSON for a failure,
-- the same as the group keeps it, artifacts, run time, number of next tasks; then
-- those. It returns what became of each: 1, 0
-- for a lost lease, or the text of an error, which is that one's alone.
local gone = {} -- entries that are done with, by their stream
local over = {} -- what goes on the list of those that have ended

-- part adds an entry to those that all leave together: to acknowledge and to
-- delete many costs little more than one.
local function part(q, at)
  local kind, entry = string.match(at, '^(%a+):(.+)$')
  local key = base .. kind .. ':' .. q
  if not gone[key] then gone[key] = {} end
  gone[key][#gone[key] + 1] = entry
end

local function finish(first)
  local id, owner, attempt, token, state, result, text, json, reason, artifacts, at, n = unpack(ARGV, first, first + 11)
  local key = base .. 'task:' .. id
  local h = redis.call('HMGET', key, 'state', 'worker', 'attempts', 'at', 'queue', 'lost', 'group', 'place', 'failures', 'fin', 'version',
    'logged', 'workflow', 'followers')
  if h[1] ~= 'running' or h[2] ~= owner or h[3] ~= attempt then
    -- The answer to the same call may have been lost.
    return (h[10] == token and h[2] == owner and h[3] == attempt) and 1 or 0
  end
  local q = h[5]
  -- What may fail fails before anything is written.
  if state == 'retrying' then ready(q, at) end
  for i = 0, n - 1 do ready(ARGV[first + 12 + i * FIELDS + 2], ARGV[first + 12 + i * FIELDS + 4]) end
  local after = h[7] and redis.call('HMGET', base .. 'group:' .. h[7], 'queue', 'at')
  if after and after[1] then ready(after[1], after[2]) end
  part(q, h[4])
  if tonumber(h[6] or 0) >= tonumber(SUSPECT) then
    let_go(owner, id)
    ring(q) -- the owner may take the next one
  end
  local set = { 'state', state, 'fin', token, 'version', int(h[11] + 1) }
  local function put(k, v) set[#set + 1], set[#set + 2] = k, v end
  -- A first attempt has nothing to overwrite.
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
  redis.call('HSET', key, unpack(set))
  if state == 'retrying' then
    schedule(q, id, h[6], at)
  elseif state == 'dead' then
    bury(q, id)
  else
    redis.call('PEXPIRE', key, KEEP)
    if h[12] then redis.call('PEXPIRE', base .. 'log:' .. id, KEEP) end
    over[#over + 1], over[#over + 2] = int(now), id
  end
  if state ~= 'retrying' then member_ended(h[7], h[8], id, state == 'success', result, reason) end
  local workflow = h[13] or h[7]
  if not workflow and n ~= '0' then workflow = part_of(id) end
  for i = 0, n - 1 do accept(first + 12 + i * FIELDS, workflow or nil) end
  if h[14] and state == 'success' then
    reserved(h[14], id, 'DEL') -- what was not accepted now never will be
  elseif h[14] and state ~= 'retrying' then
    reserved(h[14], id, 'PEXPIRE', KEEP)
  end
  changed(id)
  return 1
end

local answers, i = {}, FIRST + 1
for _ = 1, tonumber(ARGV[FIRST]) do
  local ok, answer = pcall(finish, i + 1)
  if not ok then answer = errtext(answer) end
  answers[#answers + 1] = answer
  i = i + 1 + ARGV[i]
end
for key, entries in pairs(gone) do
  try('WRONGTYPE', 'XACK', key, GROUP, unpack(entries))
  try('WRONGTYPE', 'XDEL', key, unpack(entries))
end
if #over > 0 then redis.call('ZADD', base .. 'ended', unpack(over)) end
return answers

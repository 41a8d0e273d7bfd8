-- id, owner, attempt, token, state, result, error, the same as JSON, artifacts,
-- run time, number of next tasks; then these.
local id, owner, attempt, token, state, result, text, json, artifacts, at, n = unpack(ARGV, FIRST, FIRST + 10)
local key = base .. 'task:' .. id
local h = redis.call('HMGET', key, 'state', 'worker', 'attempts', 'at', 'queue', 'lost', 'group', 'place', 'failures', 'fin', 'version')
if h[1] ~= 'running' or h[2] ~= owner or h[3] ~= attempt then
  -- The answer to the same call may have been lost.
  return (h[10] == token and h[2] == owner and h[3] == attempt) and 1 or 0
end
local q = h[5]
leave(q, h[4])
if tonumber(h[6] or 0) >= tonumber(SUSPECT) then
  let_go(owner, id)
  ring(q) -- the owner may take the next one
end
local set = { 'state', state, 'error', text, 'artifacts', artifacts, 'fin', token, 'version', int(h[11] + 1) }
local function put(k, v) set[#set + 1], set[#set + 2] = k, v end
if state == 'retrying' then
  at = int(math.max(tonumber(at), now))
  put('run_at', at)
else
  put('finished', int(now))
end
if state == 'success' then
  put('progress', '100')
  put('result', result)
else
  put('failures', failure(h[9], attempt, json))
end
redis.call('HSET', key, unpack(set))
if state == 'retrying' then
  schedule(q, id, h[6], at)
else
  ended(id)
  if state == 'dead' then bury(q, id) end
  member_ended(h[7], h[8], id, state == 'success', result, text)
end
for i = 0, n - 1 do accept(FIRST + 11 + i * FIELDS) end
changed(id)
return 1

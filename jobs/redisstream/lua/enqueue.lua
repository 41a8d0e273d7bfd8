-- Arguments: number of calls; then for each the number of its values, and the values: a task,
-- its unique key or '', and the duration of the key in milliseconds.
-- Returns for each call a list: 1 and now if the task was accepted; 0, now, and the hash and
-- id of the existing task; or -1, now, an id that is in use, and the workflow of that id. For
-- an error that concerns this call only, it returns the text of the error.
local function enqueue(first)
  local id, name, key, period = ARGV[first], ARGV[first + 1], ARGV[first + FIELDS], ARGV[first + FIELDS + 1]
  local lock = base .. 'unique:' .. #name .. ':' .. name .. ':' .. key
  local holder = key ~= '' and redis.call('GET', lock)
  if holder and redis.call('EXISTS', base .. 'task:' .. holder) == 1 then
    id = holder
  else
    local task, followers = base .. 'task:' .. id, ARGV[first + 9]
    if followers ~= '' and redis.call('EXISTS', task) == 0 then
      for each in string.gmatch(followers, '%S+') do
        local by = taken(each)
        if by then return { -1, int(now), each, by } end
      end
    end
    if accept(values_at(first), followers ~= '' and id or nil) then
      if key ~= '' then redis.call('SET', lock, id, 'PX', period) end
      return { 1, int(now) }
    end
    if redis.call('EXISTS', task) == 0 then return { -1, int(now), id, (taken(id)) } end
  end
  return { 0, int(now), redis.call('HGETALL', base .. 'task:' .. id), id }
end

-- The error of a single call ends the script, so that Redis reports the line.
if ARGV[FIRST] == '1' then return { enqueue(FIRST + 2) } end
local replies, refused, i = {}, nil, FIRST + 1
for _ = 1, tonumber(ARGV[FIRST]) do
  local ok, reply = pcall(enqueue, i + 1)
  if not ok and starts(errtext(reply), 'ERR The user') then refused = reply end
  replies[#replies + 1] = ok and reply or errtext(reply)
  i = i + 1 + ARGV[i]
end
if refused then error({ err = errtext(refused) }) end -- a missing permission concerns all calls, and is logged
return replies

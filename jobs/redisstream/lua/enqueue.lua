-- Arguments: a task, its unique key or '', and the duration of the key in milliseconds.
-- Returns 1 and now if the task was accepted; 0, now, and the hash and id of the existing
-- task; or -1, now, an id that is in use, and the workflow of that id.
local id, name, key, period = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + FIELDS], ARGV[FIRST + FIELDS + 1]
local lock = base .. 'unique:' .. #name .. ':' .. name .. ':' .. key
local holder = key ~= '' and redis.call('GET', lock)
if holder and redis.call('EXISTS', base .. 'task:' .. holder) == 1 then
  id = holder
else
  local task, followers = base .. 'task:' .. id, ARGV[FIRST + 9]
  if followers ~= '' and redis.call('EXISTS', task) == 0 then
    for each in string.gmatch(followers, '%S+') do
      local by = taken(each)
      if by then return { -1, int(now), each, by } end
    end
  end
  if accept(values_at(FIRST), followers ~= '' and id or nil) then
    if key ~= '' then redis.call('SET', lock, id, 'PX', period) end
    return { 1, int(now) }
  end
  if redis.call('EXISTS', task) == 0 then return { -1, int(now), id, (taken(id)) } end
end
return { 0, int(now), redis.call('HGETALL', base .. 'task:' .. id), id }

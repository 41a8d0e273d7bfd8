-- A task, its unique key or nothing, and for how many milliseconds it holds that.
-- It returns: 1 if it was accepted, now, the hash of the one that was there, its id.
local id, name, key, period = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + FIELDS], ARGV[FIRST + FIELDS + 1]
local lock = base .. 'unique:' .. #name .. ':' .. name .. ':' .. key
local holder = key ~= '' and redis.call('GET', lock)
if holder and redis.call('EXISTS', base .. 'task:' .. holder) == 1 then
  id = holder
elseif accept(FIRST) then
  if key ~= '' then redis.call('SET', lock, id, 'PX', period) end
  return { 1, int(now) }
end
return { 0, int(now), redis.call('HGETALL', base .. 'task:' .. id), id }

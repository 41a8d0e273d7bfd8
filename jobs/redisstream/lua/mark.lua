-- Arguments: name; new time in microseconds, or 0 to read only. Returns the previous time of
-- the mark, or 0 if there was none.
local name, to = ARGV[FIRST], ARGV[FIRST + 1]
local was = redis.call('HGET', base .. 'marks', name) or '0'
if tonumber(to) > tonumber(was) then redis.call('HSET', base .. 'marks', name, to) end
return { was, '0' }

-- Arguments: name, time in microseconds or 0. Returns the time of the mark before, or 0.
local name, to = ARGV[FIRST], ARGV[FIRST + 1]
local was = redis.call('HGET', base .. 'marks', name) or '0'
if tonumber(to) > tonumber(was) then redis.call('HSET', base .. 'marks', name, to) end
return { was, '0' }

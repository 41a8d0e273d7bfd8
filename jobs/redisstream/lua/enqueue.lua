if accept(FIRST) then return { 1, int(now) } end
return { 0, int(now), redis.call('HGETALL', base .. 'task:' .. ARGV[FIRST]) }

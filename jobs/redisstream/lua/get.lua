return { int(now), redis.call('HGETALL', base .. ARGV[FIRST] .. ':' .. ARGV[FIRST + 1]) }

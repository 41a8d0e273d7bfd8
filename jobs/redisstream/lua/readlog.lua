-- Arguments: id. Returns 1 if the task exists, else 0, and its log.
return { redis.call('EXISTS', base .. 'task:' .. ARGV[FIRST]), redis.call('GET', base .. 'log:' .. ARGV[FIRST]) or '' }

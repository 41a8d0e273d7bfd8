-- Arguments: id. Returns 1 if the task exists or 0 if not, and its log or ''.
return { redis.call('EXISTS', base .. 'task:' .. ARGV[FIRST]), redis.call('GET', base .. 'log:' .. ARGV[FIRST]) or '' }

-- id. It returns whether there is such a task, and its log.
return { redis.call('EXISTS', base .. 'task:' .. ARGV[FIRST]), redis.call('GET', base .. 'log:' .. ARGV[FIRST]) or '' }

-- Returns the number of tasks that were ever accepted.
return redis.call('GET', base .. 'count') or '0'

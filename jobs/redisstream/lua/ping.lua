-- It returns how many tasks were ever accepted.
return redis.call('GET', base .. 'count') or '0'

-- owner. It returns what was lost.
local owner, all = ARGV[FIRST], {}
local suspect = redis.call('GET', base .. 'held:' .. owner)
for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do
  lose(q, all, suspect, '-', '+', 10000, owner)
end
redis.call('DEL', base .. 'held:' .. owner)
return all

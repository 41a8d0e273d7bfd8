-- Arguments: owner. Ends all its leases as lost and returns them.
local owner, all = ARGV[FIRST], {}
local suspect = redis.call('GET', base .. 'held:' .. owner)
for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do
  pcall(lose_leases, q, all, suspect, '-', '+', 10000, owner) -- after an error, such as a key of a wrong type, the leases in the queue expire
end
redis.call('DEL', base .. 'held:' .. owner)
return all

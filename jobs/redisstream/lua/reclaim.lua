-- Arguments: owner. Returns the lost leases.
local owner, all = ARGV[FIRST], {}
local suspect = redis.call('GET', base .. 'held:' .. owner)
for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do
  pcall(lose_leases, q, all, suspect, '-', '+', 10000, owner) -- leases in a broken queue expire by themselves
end
redis.call('DEL', base .. 'held:' .. owner)
return all

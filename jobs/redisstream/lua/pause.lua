-- Arguments: queue, "pause" or "resume".
local q = ARGV[FIRST]
if ARGV[FIRST + 1] == 'pause' then
  redis.call('SADD', base .. 'paused', q)
else
  redis.call('SREM', base .. 'paused', q)
  publish_due(q)
end
return 1

-- queue, pause or resume.
local q = ARGV[FIRST]
if ARGV[FIRST + 1] == 'pause' then
  redis.call('SADD', base .. 'paused', q)
else
  redis.call('SREM', base .. 'paused', q)
  ring(q)
end
return 1

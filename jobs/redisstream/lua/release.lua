-- id, owner, attempt. The task keeps its place: it is aside by its run time.
local id, owner, attempt = unpack(ARGV, FIRST, FIRST + 2)
local key = base .. 'task:' .. id
if not current(key, owner, attempt) then return 0 end
local at, q, times, name, run_at = unpack(redis.call('HMGET', key, 'at', 'queue', 'lost', 'name', 'run_at'))
leave(q, at)
redis.call('HSET', key, 'state', 'queued')
redis.call('HINCRBY', key, 'version', 1)
if tonumber(times or 0) >= tonumber(SUSPECT) then
  let_go(owner, id)
  route(q, id, times)
else
  redis.call('ZADD', aside(q, name), run_at, id)
  redis.call('SADD', base .. 'asides:' .. q, name)
  ring(q)
end
changed(id)
return 1

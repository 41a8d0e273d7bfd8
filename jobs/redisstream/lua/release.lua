-- Arguments: id, owner, attempt. Returns 1, or 0 for a lost lease. The task is set aside with
-- its RunAt, so that it comes before tasks that became due later.
local id, owner, attempt = unpack(ARGV, FIRST, FIRST + 2)
local key = base .. 'task:' .. id
if not current(key, owner, attempt) then return 0 end
local at, q, times, name, run_at = unpack(redis.call('HMGET', key, 'at', 'queue', 'lost', 'name', 'run_at'))
remove_entry(q, at)
redis.call('HSET', key, 'state', 'queued')
redis.call('HINCRBY', key, 'version', 1)
if tonumber(times or 0) >= tonumber(SUSPECT) then
  release_suspect(owner, id)
  route(q, id, times)
else
  redis.call('ZADD', aside_key(q, name), run_at, id)
  redis.call('SADD', base .. 'asides:' .. q, name)
  publish_due(q)
end
publish_changed(id)
return 1

-- Arguments: id, "cancel" or "requeue", reason. Returns 1 if the task was changed, else 0;
-- now; and the hash of the task, if it exists.
local id, what, reason = unpack(ARGV, FIRST, FIRST + 2)
local key = base .. 'task:' .. id
local h = redis.call('HMGET', key, 'state', 'queue', 'group', 'attempts', 'aborted', 'followers')
local state, q = h[1], h[2]
if not state then return { 0, int(now) } end

local function requeue()
  local over = state == 'cancelled' or state == 'dead' or (state == 'failed' and h[4] ~= '0')
  if not over or h[3] or h[5] then return 0 end
  redis.call('ZREM', base .. 'dead:' .. q, id)
  redis.call('ZREM', base .. 'ended', id)
  redis.call('PERSIST', key)
  redis.call('PERSIST', base .. 'log:' .. id)
  reserved(h[6], id, 'PERSIST')
  redis.call('HDEL', key, 'finished', 'result', 'artifacts', 'fin', 'expires')
  redis.call('HSET', key, 'state', 'queued', 'run_at', int(now), 'lost', '0', 'excused', '0', 'progress', '0', 'note', '', 'error', '')
  route(q, id, 0)
  redis.call('HINCRBY', key, 'version', 1)
  publish_changed(id)
  return 1
end

local done = what == 'cancel' and cancel(id, reason) or what == 'requeue' and requeue() or 0
return { done, int(now), redis.call('HGETALL', key) }

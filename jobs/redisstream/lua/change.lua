-- id, cancel or requeue, the reason. It returns: 1 if that was done, now, the
-- task's hash, if there is one.
local id, what, reason = unpack(ARGV, FIRST, FIRST + 2)
local key = base .. 'task:' .. id
local h = redis.call('HMGET', key, 'state', 'queue', 'at', 'lost', 'group', 'place', 'worker', 'name', 'entry', 'attempts')
local state, q = h[1], h[2]
if not state then return { 0, int(now) } end
local waits = state == 'queued' or state == 'retrying'

local function cancel()
  if not waits and state ~= 'running' then return 0 end
  if waits then
    -- It is in one of these; the entry of a stream is nobody's yet.
    redis.call('ZREM', base .. 'later:' .. q, id)
    redis.call('ZREM', base .. 'suspects:' .. q, id)
    redis.call('ZREM', aside(q, h[8]), id)
    if h[9] then redis.call('XDEL', base .. 'stream:' .. q, h[9]) end
  else
    leave(q, h[3])
    if tonumber(h[4] or 0) >= tonumber(SUSPECT) then
      let_go(h[7], id)
      ring(q)
    end
  end
  redis.call('HSET', key, 'state', 'cancelled', 'finished', int(now), 'error', reason)
  ended(id)
  member_ended(h[5], h[6], id, false, '', reason)
  return 1
end

local function requeue()
  local over = state == 'cancelled' or state == 'dead' or (state == 'failed' and h[10] ~= '0')
  if not over or h[5] then return 0 end
  redis.call('ZREM', base .. 'dead:' .. q, id)
  redis.call('ZREM', base .. 'ended', id)
  redis.call('PERSIST', key)
  redis.call('HDEL', key, 'finished', 'result', 'artifacts', 'fin')
  redis.call('HSET', key, 'state', 'queued', 'run_at', int(now), 'lost', '0', 'excused', '0', 'progress', '0', 'note', '', 'error', '')
  route(q, id, 0)
  return 1
end

local done = what == 'cancel' and cancel() or what == 'requeue' and requeue() or 0
if done == 1 then
  redis.call('HINCRBY', key, 'version', 1)
  changed(id)
end
return { done, int(now), redis.call('HGETALL', key) }

-- Arguments: reason, number of states, the states, ids. Cancels the tasks that are in one of
-- the states, and returns their number.
local reason, n, states, done = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), {}, 0
for i = FIRST + 2, FIRST + 1 + n do states[ARGV[i]] = true end

-- cancel_dead ends a dead task as cancelled. Its group has already counted it.
local function cancel_dead(id, q)
  local key = base .. 'task:' .. id
  redis.call('ZREM', base .. 'dead:' .. q, id)
  redis.call('HSET', key, 'state', 'cancelled', 'finished', int(now), 'error', reason)
  redis.call('HINCRBY', key, 'version', 1)
  set_retention(id)
  publish_changed(id)
  return 1
end

for i = FIRST + 2 + n, #ARGV do
  local id = ARGV[i]
  local h = redis.call('HMGET', base .. 'task:' .. id, 'state', 'run_at', 'queue')
  local is = h[1]
  if is == 'queued' and tonumber(h[2]) > now then is = 'scheduled' end
  if is and states[is] then
    done = done + (is == 'dead' and cancel_dead(id, h[3]) or cancel(id, reason))
  end
end
return { done, 0 }

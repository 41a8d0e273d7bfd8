-- Arguments: Query.Before or 0, maximum number of tasks to return, state, name, queue,
-- maximum number of tasks to read, maximum size of a page in bytes, first and last time of
-- acceptance, text in the id, the name or the arguments. Returns now, the value of Before for the
-- next page or 0, and the id and hash of each task.
local before, limit, state, name, queue, budget, bytes, since, until_, text = unpack(ARGV, FIRST, FIRST + 9)
local out, found, size, last = { int(now), '0' }, 0, 0, before == '0' and '+inf' or '(' .. before
limit, budget, bytes, since, until_ = tonumber(limit), tonumber(budget), tonumber(bytes), tonumber(since), tonumber(until_)

local fields = { 'state', 'name', 'queue', 'run_at', 'created' }
if text ~= '' then fields[6], fields[7] = 'args', 'kwargs' end

local find, call = string.find, redis.call

-- contains reports whether the id, the name or the arguments have the text.
local function contains(id, h)
  return find(id, text, 1, true) or (h[6] and find(h[6], text, 1, true)) or (h[7] and find(h[7], text, 1, true))
    or (h[2] and find(h[2], text, 1, true))
end

while budget > 0 do
  local ids = redis.call('ZREVRANGEBYSCORE', base .. 'tasks', last, '-inf', 'WITHSCORES', 'LIMIT', 0, math.min(budget, 500))
  if #ids == 0 then return out end
  for i = 1, #ids, 2 do
    local id = ids[i]
    last, budget = '(' .. ids[i + 1], budget - 1
    local key = base .. 'task:' .. id
    local h = call('HMGET', key, unpack(fields))
    local is = h[1]
    if is == 'queued' and tonumber(h[4]) > now then is = 'scheduled' end
    local created = tonumber(h[5])
    if is and (state == '' or state == is) and (name == '' or name == h[2]) and (queue == '' or queue == h[3])
      and created >= since and created < until_ and (text == '' or contains(id, h)) then
      out[#out + 1], out[#out + 2] = id, redis.call('HGETALL', key)
      found, size = found + 1, size + redis.call('HSTRLEN', key, 'args') + redis.call('HSTRLEN', key, 'result')
      if found == limit or size >= bytes then
        out[2] = ids[i + 1]
        return out
      end
    end
  end
end
out[2] = string.sub(last, 2)
return out

-- Arguments: Query.Before or 0, maximum number of tasks to return, state, name, queue,
-- maximum number of tasks to read, maximum size of a page in bytes, first and last time of
-- acceptance, text in the id, the name or the arguments. Returns now, the value of Before for the
-- next page or 0, and the id and hash of each task.
local before, limit, state, name, queue, budget, bytes, since, until_, text = unpack(ARGV, FIRST, FIRST + 9)
local out, found, size, last = { int(now), '0' }, 0, 0, before == '0' and '+inf' or '(' .. before
limit, budget, bytes, since, until_ = tonumber(limit), tonumber(budget), tonumber(bytes), tonumber(since), tonumber(until_)

-- Of each task only the fields that the query compares are read: each one costs Redis a search
-- of the hash. Every task has a name. A field that is not read is nil, like h[0].
local fields = { 'name' }
local function read(field, needed)
  if not needed then return 0 end
  fields[#fields + 1] = field
  return #fields
end
local state_at, queue_at = read('state', state ~= ''), read('queue', queue ~= '')
local due_at = read('run_at', state == 'queued' or state == 'scheduled')
local args_at, kwargs_at = read('args', text ~= ''), read('kwargs', text ~= '')
local created_at = read('created', since > 0 or until_ < 2 ^ 63)

local find, call, prefix = string.find, redis.call, base .. 'task:'

-- matches reports whether the query selects a task with these fields.
local function matches(id, h)
  if name ~= '' and name ~= h[1] or queue ~= '' and queue ~= h[queue_at] then return false end
  if state ~= '' then
    local is = h[state_at]
    if is == 'queued' and due_at > 0 and tonumber(h[due_at]) > now then is = 'scheduled' end
    if is ~= state then return false end
  end
  if created_at > 0 then
    local created = tonumber(h[created_at])
    if created < since or created >= until_ then return false end
  end
  return text == '' or find(id, text, 1, true) or find(h[1], text, 1, true)
    or h[args_at] and find(h[args_at], text, 1, true) or h[kwargs_at] and find(h[kwargs_at], text, 1, true)
end

while budget > 0 do
  local ids = call('ZREVRANGEBYSCORE', base .. 'tasks', last, '-inf', 'WITHSCORES', 'LIMIT', 0, math.min(budget, 500))
  if #ids == 0 then return out end
  for i = 1, #ids, 2 do
    local id = ids[i]
    last, budget = '(' .. ids[i + 1], budget - 1
    local key = prefix .. id
    local h = call('HMGET', key, unpack(fields))
    if h[1] and matches(id, h) then
      out[#out + 1], out[#out + 2] = id, call('HGETALL', key)
      found, size = found + 1, size + call('HSTRLEN', key, 'args') + call('HSTRLEN', key, 'result')
      if found == limit or size >= bytes then
        out[2] = ids[i + 1]
        return out
      end
    end
  end
end
out[2] = string.sub(last, 2)
return out

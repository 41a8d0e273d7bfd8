-- Arguments: "put", kind, key, value, time in ms; or "get", kind, key; or "list", kind; or
-- "remove", kind, key. Returns the pairs of key and value that were read.
local what, kind, name, value, ttl = unpack(ARGV, FIRST, FIRST + 4)
local all = base .. 'records:' .. kind
local function key(n) return base .. 'record:' .. kind .. ':' .. n end
if what == 'put' then
  redis.call('SET', key(name), value, 'PX', ttl)
  redis.call('ZADD', all, int(now + ttl * 1000), name)
  redis.call('ZREMRANGEBYSCORE', all, '-inf', int(now))
  return {}
elseif what == 'remove' then
  redis.call('DEL', key(name))
  redis.call('ZREM', all, name)
  return {}
elseif what == 'get' then
  local v = redis.call('GET', key(name))
  return v and { name, v } or {}
end
local found = {}
for _, n in ipairs(redis.call('ZRANGEBYSCORE', all, '(' .. int(now), '+inf')) do
  local v = redis.call('GET', key(n))
  if v then found[#found + 1], found[#found + 2] = n, v end
end
return found

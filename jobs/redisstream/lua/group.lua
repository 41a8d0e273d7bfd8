-- id, members' ids as JSON, immutable, 1 or 0 callbacks, number of members; then
-- the members, then the callback.
local id, ids, immutable, has, size = unpack(ARGV, FIRST, FIRST + 4)
local key, first = base .. 'group:' .. id, FIRST + 5
if redis.call('EXISTS', key) == 1 then return { 0 } end
for i = first, first + (size + has - 1) * FIELDS, FIELDS do
  if redis.call('EXISTS', base .. 'task:' .. ARGV[i]) == 1 then return { -1, ARGV[i] } end
end
for i = first, first + (size + has - 1) * FIELDS, FIELDS do ready(ARGV[i + 2], ARGV[i + 4]) end
redis.call('HSET', key, 'members', ids, 'size', size, 'succeeded', '0', 'failed', '0', 'created', int(now), 'immutable', immutable)
redis.call('DEL', key .. ':results')
for i = 0, size - 1 do accept(first + i * FIELDS, id, i) end
if has == '1' then
  local cb, name, q, args, at, timeout, retries, sig, until_ = unpack(ARGV, first + size * FIELDS, first + (size + 1) * FIELDS - 1)
  redis.call('HSET', key, 'callback', cb, 'name', name, 'queue', q, 'args', args, 'at', at,
    'timeout', timeout, 'retries', retries, 'sig', sig, 'expires', until_)
end
return { 1 }

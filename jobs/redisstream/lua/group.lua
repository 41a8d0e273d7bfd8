-- Arguments: id, digest, ids of the members as JSON, immutable, number of callbacks (0 or 1),
-- number of members, the members, the callback. Returns 1 if the group was accepted; 0 and
-- the digest of the existing group; or -1, an id that is in use, and its workflow.
local id, digest, ids, immutable, has, size = unpack(ARGV, FIRST, FIRST + 5)
local key, first = base .. 'group:' .. id, FIRST + 6
if redis.call('EXISTS', key) == 1 then return { 0, redis.call('HGET', key, 'digest') or '' } end
local by = taken(id)
if by then return { -1, id, by } end
local followers = {}
for i = first, first + (size + has - 1) * FIELDS, FIELDS do
  local after = ARGV[i + 9]
  for each in string.gmatch(ARGV[i] .. ' ' .. after, '%S+') do
    by = taken(each)
    if by then return { -1, each, by } end
  end
  if after ~= '' then followers[#followers + 1] = after end
end
for i = first, first + (size + has - 1) * FIELDS, FIELDS do ready(ARGV[i + 2], ARGV[i + 4]) end
redis.call('HSET', key, 'members', ids, 'size', size, 'succeeded', '0', 'failed', '0', 'created', int(now), 'immutable', immutable,
  'digest', digest, 'followers', table.concat(followers, ' '))
redis.call('DEL', key .. ':results')
for i = 0, size - 1 do accept(first + i * FIELDS, id, i) end
if has == '1' then
  local cb, name, q, args, at, timeout, retries, sig, until_, after = unpack(ARGV, first + size * FIELDS, first + (size + 1) * FIELDS - 1)
  redis.call('HSET', key, 'callback', cb, 'name', name, 'queue', q, 'args', args, 'at', at,
    'timeout', timeout, 'retries', retries, 'sig', sig, 'expires', until_, 'after_callback', after)
  reserve(cb .. ' ' .. after, 'group:' .. id, id)
end
return { 1 }

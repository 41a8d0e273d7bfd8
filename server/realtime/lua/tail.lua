-- Returns the number of a channel's last message, and the stored messages, oldest first.
-- KEYS: state, log. ARGV: expiry in seconds.
local state, log = KEYS[1], KEYS[2]
if redis.call('HSETNX', state, 'seq', 0) == 1 then
  local now = redis.call('TIME')
  redis.call('HSET', state, 'seq', now[1] .. string.format('%06d', tonumber(now[2])))
end
redis.call('EXPIRE', state, ARGV[1])
redis.call('EXPIRE', log, ARGV[1])
return {redis.call('HGET', state, 'seq'), redis.call('LRANGE', log, 0, -1)}

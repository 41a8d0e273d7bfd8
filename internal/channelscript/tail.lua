-- Returns the number of a channel's last message, and the stored messages, oldest first.
-- KEYS: state, log. ARGV: expiry in seconds of a channel without messages. The expiry of a
-- channel with messages is the one that was set with its last message.
local state, log = KEYS[1], KEYS[2]
if redis.call('HSETNX', state, 'seq', 0) == 1 then
  local now = redis.call('TIME')
  redis.call('HSET', state, 'seq', now[1] .. string.format('%06d', tonumber(now[2])))
end
local keep = redis.call('HGET', state, 'keep') or ARGV[1]
redis.call('EXPIRE', state, keep)
redis.call('EXPIRE', log, keep)
return {redis.call('HGET', state, 'seq'), redis.call('LRANGE', log, 0, -1)}

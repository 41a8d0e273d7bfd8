-- Numbers a message, stores it and publishes it to all processes, atomically.
-- KEYS: state, log. ARGV: Redis channel of the bus, channel, data, limit of stored
-- messages, limit of stored bytes, expiry in seconds. Returns the number.
local state, log = KEYS[1], KEYS[2]
local size = #ARGV[3]
if redis.call('HSETNX', state, 'seq', 0) == 1 then
  -- Numbers start at the time in microseconds. Therefore no number is used twice, even after
  -- Redis has lost its data, and a client that resumes then gets a gap.
  local now = redis.call('TIME')
  redis.call('HSET', state, 'seq', now[1] .. string.format('%06d', tonumber(now[2])))
end
redis.call('HINCRBY', state, 'seq', 1)
local seq = redis.call('HGET', state, 'seq')
local kept = redis.call('RPUSH', log, ARGV[3])
if kept == 1 then redis.call('HSET', state, 'bytes', 0) end -- also if Redis has evicted only the log
local bytes = redis.call('HINCRBY', state, 'bytes', size)
while kept > 1 and (kept > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5])) do
  local oldest = redis.call('LPOP', log)
  bytes = redis.call('HINCRBY', state, 'bytes', 0 - #oldest) -- a minus sign alone makes "-0" of 0, which Redis refuses
  kept = kept - 1
end
redis.call('HSET', state, 'keep', ARGV[6]) -- for tail.lua
redis.call('EXPIRE', state, ARGV[6])
redis.call('EXPIRE', log, ARGV[6])
redis.call('PUBLISH', ARGV[1], seq .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
return seq

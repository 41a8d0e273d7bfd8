-- Adds a session to the set of its subject. The set expires no earlier than the session.
--
-- KEYS[1] the set; ARGV[1] the session; ARGV[2] its lifetime in ms
redis.call('SADD', KEYS[1], ARGV[1])
local lifetime = tonumber(ARGV[2])
if redis.call('PTTL', KEYS[1]) < lifetime then
  redis.call('PEXPIRE', KEYS[1], lifetime)
end
return 1

-- Returns the fields of a session, or an empty list. Reading a session extends it by the
-- idle time, but not beyond its lifetime.
--
-- KEYS[1] the session; ARGV[1] idle time in ms, or 0
local fields = redis.call('HGETALL', KEYS[1])
local idle = tonumber(ARGV[1])
if #fields > 0 and idle > 0 then
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local left = tonumber(redis.call('HGET', KEYS[1], '.until')) - now
  redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(idle, left)))
end
return fields

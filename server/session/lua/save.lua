-- Writes the changes of a session. Returns 1, or 0 if the session has ended meanwhile.
--
-- KEYS[1] the session; ARGV[1] 1 for a new session, else 0; ARGV[2] lifetime, ARGV[3] idle time or 0, in
-- ms; ARGV[4] number of fields to set; then their names and values; then the names of the
-- fields to delete
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local left = tonumber(ARGV[2])
if ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], '.until', string.format('%.0f', now + left))
else
  local last = redis.call('HGET', KEYS[1], '.until')
  if not last then return 0 end
  left = tonumber(last) - now
end
local sets = tonumber(ARGV[4])
for i = 5, 4 + 2 * sets, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = 5 + 2 * sets, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
local idle = tonumber(ARGV[3])
if idle > 0 and idle < left then left = idle end
redis.call('PEXPIRE', KEYS[1], math.max(1, left))
return 1

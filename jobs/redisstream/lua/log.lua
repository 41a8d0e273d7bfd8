-- Arguments: id, owner, attempt, lines, maximum size of the log in bytes. Returns 1, or 0 for
-- a lost lease.
local id, owner, attempt, lines, limit = unpack(ARGV, FIRST, FIRST + 4)
if not current(base .. 'task:' .. id, owner, attempt) then return 0 end
local key = base .. 'log:' .. id
if redis.call('EXISTS', key) == 0 then redis.call('HSET', base .. 'task:' .. id, 'logged', '1') end
if redis.call('APPEND', key, lines) > tonumber(limit) then
  local kept = redis.call('GETRANGE', key, -tonumber(limit), -1)
  redis.call('SET', key, string.sub(kept, (string.find(kept, '\n', 1, true) or 0) + 1))
end
return 1

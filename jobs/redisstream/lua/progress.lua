-- Arguments: id, owner, attempt, percent, note. Returns 1, or 0 for a lost lease.
local id, owner, attempt, percent, note = unpack(ARGV, FIRST, FIRST + 4)
local key = base .. 'task:' .. id
if not current(key, owner, attempt) then return 0 end
redis.call('HSET', key, 'progress', percent, 'note', note)
redis.call('HINCRBY', key, 'version', 1)
publish_changed(id)
return 1

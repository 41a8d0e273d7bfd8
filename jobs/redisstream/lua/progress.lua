-- Arguments: id, owner, attempt, percent, note; then "1" or "" for each of both, whether it
-- stays as it is, and a JSON value that is the result while the attempt runs, or "". Returns
-- 1, or 0 for a lost lease.
local id, owner, attempt, percent, note, no_percent, no_note, meta = unpack(ARGV, FIRST, FIRST + 7)
local key = base .. 'task:' .. id
if not current(key, owner, attempt) then return 0 end
if no_percent ~= '1' then redis.call('HSET', key, 'progress', percent) end
if no_note ~= '1' then redis.call('HSET', key, 'note', note) end
if meta and meta ~= '' then redis.call('HSET', key, 'result', meta, 'meta', '1') end
redis.call('HINCRBY', key, 'version', 1)
publish_changed(id)
return 1

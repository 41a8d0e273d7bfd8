-- Arguments: "task" or "group", id. Returns now and the hash, which is empty if there is none.
-- If the Expires of the task has passed, the task is cancelled first.
local kind, id = ARGV[FIRST], ARGV[FIRST + 1]
if kind == 'task' and tonumber(redis.call('ZSCORE', base .. 'expiring', id) or now + 1) <= now then expire() end
return { int(now), redis.call('HGETALL', base .. kind .. ':' .. id) }

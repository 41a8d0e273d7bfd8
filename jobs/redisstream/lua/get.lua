-- Arguments: "task" or "group", id. A task past its Expires is ended first.
local kind, id = ARGV[FIRST], ARGV[FIRST + 1]
if kind == 'task' and tonumber(redis.call('ZSCORE', base .. 'expiring', id) or now + 1) <= now then expire() end
return { int(now), redis.call('HGETALL', base .. kind .. ':' .. id) }

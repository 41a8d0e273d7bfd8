-- Arguments: owner; id and attempt of each lease to keep. Releases the other leases of the
-- owner and returns their number.
local owner, keep, n = ARGV[FIRST], {}, 0
for i = FIRST + 1, #ARGV, 2 do keep[ARGV[i] .. ' ' .. ARGV[i + 1]] = true end
for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do
  for _, kind in ipairs({ 'stream:', 'side:' }) do
    for _, p in ipairs(owned(kind .. q, owner)) do
      local e = redis.call('XRANGE', base .. kind .. q, p[1], p[1])
      local id = e[1] and e[1][2][2]
      local h = id and redis.call('HMGET', base .. 'task:' .. id, 'state', 'worker', 'attempts', 'at') or {}
      if h[1] == 'running' and h[2] == owner and h[4] == kind .. p[1] and not keep[id .. ' ' .. h[3]] then
        release(id, owner)
        n = n + 1
      end
    end
  end
end
return { n, 0 }

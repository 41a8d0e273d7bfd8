-- owner. It returns what was lost.
local owner, all = ARGV[FIRST], {}
local suspect = redis.call('GET', base .. 'held:' .. owner)
for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do
  for _, kind in ipairs({ 'stream', 'side' }) do
    local key = base .. kind .. ':' .. q
    for _, p in ipairs(redis.call('XPENDING', key, GROUP, '-', '+', 10000, owner)) do
      local e = redis.call('XRANGE', key, p[1], p[1])
      local id = e[1] and e[1][2][2]
      if id and redis.call('HGET', base .. 'task:' .. id, 'at') == kind .. ':' .. p[1] then
        local name, state = lost(q, id, owner, suspect and suspect ~= id)
        all[#all + 1] = { id, name, q, state }
      else
        leave(q, kind .. ':' .. p[1])
      end
    end
  end
end
redis.call('DEL', base .. 'held:' .. owner)
return all

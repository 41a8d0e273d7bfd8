-- Returns for each queue: name, waiting, scheduled, running, dead, age of the oldest
-- waiting task in microseconds, 1 if paused, and the error of its keys or ''.
local all = {}
local function oldest(key)
  local z = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return z[2] and tonumber(z[2]) or now
end
local function measure(q)
  open_queue(q)
  local stream, later, suspects = base .. 'stream:' .. q, base .. 'later:' .. q, base .. 'suspects:' .. q
  local taken = grouped(q, 'XPENDING', stream, GROUP)[1]
  local waiting = redis.call('XLEN', stream) - taken + redis.call('ZCARD', suspects) + redis.call('ZCOUNT', later, '-inf', int(now))
  local since = math.min(oldest(suspects), oldest(later))
  for _, g in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local f = {}
    for i = 1, #g, 2 do f[g[i]] = g[i + 1] end
    local e = redis.call('XRANGE', stream, '(' .. f['last-delivered-id'], '+', 'COUNT', 1)
    if e[1] then since = math.min(since, string.match(e[1][1], '^%d+') * 1000) end
  end
  for _, name in ipairs(redis.call('SMEMBERS', base .. 'asides:' .. q)) do
    waiting = waiting + redis.call('ZCARD', aside_key(q, name))
    since = math.min(since, oldest(aside_key(q, name)))
  end
  all[#all + 1] = { q, waiting, redis.call('ZCOUNT', later, '(' .. int(now), '+inf'),
    taken + grouped(q, 'XPENDING', base .. 'side:' .. q, GROUP)[1],
    redis.call('ZCOUNT', base .. 'dead:' .. q, int(now - KEEP * 1000), '+inf'), int(waiting > 0 and now - since or 0),
    redis.call('SISMEMBER', base .. 'paused', q), '' }
end
for _, q in ipairs(redis.call('SUNION', base .. 'queues', base .. 'paused')) do
  local ok, err = pcall(measure, q)
  if not ok then all[#all + 1] = { q, 0, 0, 0, 0, '0', redis.call('SISMEMBER', base .. 'paused', q), errtext(err) } end
end
return all

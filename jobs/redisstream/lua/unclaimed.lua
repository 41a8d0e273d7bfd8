-- Arguments: pairs of queue and name that a worker can run. Returns for each queue its name
-- and the number of due tasks that no worker can run. The tasks in a stream are counted
-- only if no worker reads it, because their names are not in it.
local names = {} -- names by queue
for i = FIRST, #ARGV, 2 do
  names[ARGV[i]] = names[ARGV[i]] or {}
  names[ARGV[i]][ARGV[i + 1]] = true
end
local all = {}
local function measure(q)
  local served, n = names[q], 0
  for _, name in ipairs(redis.call('SMEMBERS', base .. 'asides:' .. q)) do
    if not (served and served[name]) then n = n + redis.call('ZCARD', aside_key(q, name)) end
  end
  if not served then
    n = n + redis.call('XLEN', base .. 'stream:' .. q) - grouped(q, 'XPENDING', base .. 'stream:' .. q, GROUP)[1]
    n = n + redis.call('ZCOUNT', base .. 'later:' .. q, '-inf', int(now)) + redis.call('ZCARD', base .. 'suspects:' .. q)
  end
  if n > 0 then all[#all + 1], all[#all + 2] = q, int(n) end
end
for _, q in ipairs(redis.call('SMEMBERS', base .. 'queues')) do pcall(measure, q) end -- Depth reports an error
return all

-- Arguments: id, owner and attempt of each lease. Returns 1 for each current lease, else 0.
local held = {}
for i = FIRST, #ARGV, 3 do
  local key = base .. 'task:' .. ARGV[i]
  if current(key, ARGV[i + 1], ARGV[i + 2]) then
    local at, q = unpack(redis.call('HMGET', key, 'at', 'queue'))
    local kind, entry = string.match(at, '^(%a+):(.+)$')
    local ok, claimed = pcall(grouped, q, 'XCLAIM', base .. kind .. ':' .. q, GROUP, ARGV[i + 1], 0, entry, 'JUSTID')
    if ok and #claimed == 0 then -- the stream or its group was deleted meanwhile
      redis.call('HSET', key, 'at', pend(q, ARGV[i + 1], ARGV[i]))
    elseif not ok and not starts(errtext(claimed), 'WRONGTYPE') then
      error(claimed)
    end
    held[#held + 1] = 1
  else
    held[#held + 1] = 0
  end
end
return held

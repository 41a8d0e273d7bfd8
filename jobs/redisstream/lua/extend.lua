-- id, owner and attempt of each lease; returns 1 for each that is held.
local held = {}
for i = FIRST, #ARGV, 3 do
  local key = base .. 'task:' .. ARGV[i]
  if current(key, ARGV[i + 1], ARGV[i + 2]) then
    local at, q = unpack(redis.call('HMGET', key, 'at', 'queue'))
    local kind, entry = string.match(at, '^(%a+):(.+)$')
    redis.call('XCLAIM', base .. kind .. ':' .. q, GROUP, ARGV[i + 1], 0, entry, 'JUSTID')
    held[#held + 1] = 1
  else
    held[#held + 1] = 0
  end
end
return held

-- Arguments: id, owner and attempt of each lease. Returns 1 for each current lease, else 0.
local held = {}
for i = FIRST, #ARGV, 3 do
  held[#held + 1] = current(base .. 'task:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2]) and 1 or 0
end
return held

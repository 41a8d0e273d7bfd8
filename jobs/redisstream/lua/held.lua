-- id, owner and attempt of each lease; returns 1 for each that is held.
local held = {}
for i = FIRST, #ARGV, 3 do
  held[#held + 1] = current(base .. 'task:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2]) and 1 or 0
end
return held

-- Arguments: id, owner, attempt. Returns 1, or 0 for a lost lease.
local id, owner, attempt = unpack(ARGV, FIRST, FIRST + 2)
if not current(base .. 'task:' .. id, owner, attempt) then return 0 end
release(id, owner)
return 1

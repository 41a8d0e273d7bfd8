-- Arguments: kind, time at which a released task is due or 0, number of remembered leases,
-- the state to remember; then the values of an outcome as in finish.lua, of which a lost or
-- released attempt uses only id, owner and attempt. Returns the new state, and 1 if an
-- earlier call has ended the attempt, else 0. The state is '' for a lost lease.
local kind, at, keep, state = unpack(ARGV, FIRST, FIRST + 3)
local first = FIRST + 4
local id, owner, attempt = unpack(ARGV, first, first + 2)
local key = base .. 'task:' .. id

-- Each line has the attempt, the state and the owner.
local ended, kept = redis.call('HGET', key, 'ended') or '', 0
for a, s, o in string.gmatch(ended, '(%d+) (%a+) ([^\n]*)\n') do
  if a == attempt and o == owner then return { s, 1 } end
  kept = kept + 1
end
if not current(key, owner, attempt) then return { '', 0 } end
local q = redis.call('HGET', key, 'queue')
if kind == 'finished' then
  finish(first)
  flush()
elseif kind == 'lost' then
  local name
  name, state = lease_lost(q, id, owner, false, true)
else
  state = release(id, owner, at)
end
if kept >= tonumber(keep) then ended = string.sub(ended, string.find(ended, '\n', 1, true) + 1) end
redis.call('HSET', key, 'ended', ended .. attempt .. ' ' .. state .. ' ' .. owner .. '\n')
return { state, 0 }

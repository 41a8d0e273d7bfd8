-- id, group or task, the reason, then the ids of all that may be tasks of the workflow.
-- It returns: 1 if it is cancelled now, 0 if nothing of it waits or runs, -1 if it is gone.
local id, kind, reason = unpack(ARGV, FIRST, FIRST + 2)
local root = base .. kind .. ':' .. id
if redis.call('EXISTS', root) == 0 then return -1 end
local h = redis.call('HMGET', root, 'aborted', 'workflow', 'followers')
if h[1] then return 1 end
-- What was accepted before there were reservations does not say what it is part of.
local old = not (kind == 'group' and h[3] or h[2])
local parts, left = {}, false
for i = FIRST + 3, #ARGV do
  local t = redis.call('HMGET', base .. 'task:' .. ARGV[i], 'state', 'workflow', 'group')
  local of = t[2] or t[3] or part_of(ARGV[i])
  if t[1] and (of == id or (old and not of)) then
    parts[#parts + 1] = ARGV[i]
    left = left or t[1] == 'queued' or t[1] == 'retrying' or t[1] == 'running'
  end
end
if not left then return 0 end
redis.call('HSET', root, 'aborted', '1') -- before its tasks: the end of a member ends the callback
for _, part in ipairs(parts) do
  redis.call('HSET', base .. 'task:' .. part, 'aborted', '1')
  cancel(part, reason)
end
for i = FIRST + 3, #ARGV do give_up(ARGV[i], id) end
return 1

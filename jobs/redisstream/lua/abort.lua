-- Arguments: id, "group" or "task", reason, ids of all tasks that may belong to the workflow.
-- Returns 1 if the workflow is cancelled now, 0 if none of its tasks waits or runs, -1 if
-- it does not exist.
local id, kind, reason = unpack(ARGV, FIRST, FIRST + 2)
local root = base .. kind .. ':' .. id
if redis.call('EXISTS', root) == 0 then return -1 end
local h = redis.call('HMGET', root, 'aborted', 'workflow', 'followers')
if h[1] then return 1 end
-- Tasks that an older version accepted have no field workflow.
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
redis.call('HSET', root, 'aborted', '1') -- must come before the tasks: the end of a member ends the callback
for _, part in ipairs(parts) do
  redis.call('HSET', base .. 'task:' .. part, 'aborted', '1')
  cancel(part, reason)
end
for i = FIRST + 3, #ARGV do unreserve(ARGV[i], id) end
return 1

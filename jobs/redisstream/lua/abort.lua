-- Arguments: id, "group" or "task", reason, ids of all tasks that may belong to the workflow.
-- Returns 1 if the workflow is now cancelled, 0 if all its tasks have ended, -1 if it does
-- not exist; or -2 and the id of the chain of which the group is a part.
local id, kind, reason = unpack(ARGV, FIRST, FIRST + 2)
local root = base .. kind .. ':' .. id
if redis.call('EXISTS', root) == 0 then return -1 end
local h = redis.call('HMGET', root, 'aborted', 'workflow', 'followers')
if kind == 'group' and h[2] then return { -2, h[2] } end
if h[1] then return 1 end
-- Tasks that an older version accepted have no field workflow.
local old = not (kind == 'group' and h[3] or h[2])
local parts, unended = {}, false
for i = FIRST + 3, #ARGV do
  local t = redis.call('HMGET', base .. 'task:' .. ARGV[i], 'state', 'workflow', 'group')
  local workflow = t[2] or t[3] or workflow_of(ARGV[i])
  if t[1] and (workflow == id or (old and not workflow)) then
    parts[#parts + 1] = ARGV[i]
    unended = unended or t[1] == 'queued' or t[1] == 'retrying' or t[1] == 'running'
  end
end
if not unended then return 0 end
-- Set aborted before the tasks are cancelled: the first cancelled member of a group ends the
-- callback, and member_ended then reads aborted.
redis.call('HSET', root, 'aborted', '1')
for i = FIRST + 3, #ARGV do
  local group = base .. 'group:' .. ARGV[i]
  if redis.call('HGET', group, 'workflow') == id then redis.call('HSET', group, 'aborted', '1') end
end
for _, part in ipairs(parts) do
  redis.call('HSET', base .. 'task:' .. part, 'aborted', '1')
  cancel(part, reason)
end
for i = FIRST + 3, #ARGV do unreserve(ARGV[i], id) end
return 1

-- Arguments: a group, its members, its callback. Returns 1 if the group was accepted; 0 and the
-- digest of the existing group; or -1, an id that is in use, and its workflow.
local id = ARGV[FIRST]
local key = base .. 'group:' .. id
if redis.call('EXISTS', key) == 1 then return { 0, redis.call('HGET', key, 'digest') or '' } end
local by = taken(id)
if by then return { -1, id, by } end
local first, tasks = group_tasks(FIRST)
for i = first, first + (tasks - 1) * FIELDS, FIELDS do
  for each in string.gmatch(ARGV[i] .. ' ' .. ARGV[i + 9], '%S+') do
    by = taken(each)
    if by then return { -1, each, by } end
  end
end
for i = first, first + (tasks - 1) * FIELDS, FIELDS do ready(ARGV[i + 2], ARGV[i + 4]) end
accept_group(FIRST, id)
return { 1 }

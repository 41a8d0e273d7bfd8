-- Arguments: number of outcomes; then for each the number of its values, and the values: id,
-- owner, attempt, token, state, result, error, the error as JSON for the failures, the error
-- for the group, artifacts, RunAt of a retry, number of next tasks, number of next groups, the
-- next tasks, and the next groups, each with its tasks.
-- Returns for each outcome 1, 0 for a lost lease, or the text of an error that concerns
-- this outcome only.
local replies, i = {}, FIRST + 1
for _ = 1, tonumber(ARGV[FIRST]) do
  local ok, reply = pcall(finish, i + 1)
  if not ok then reply = errtext(reply) end
  replies[#replies + 1] = reply
  i = i + 1 + ARGV[i]
end
flush()
return replies

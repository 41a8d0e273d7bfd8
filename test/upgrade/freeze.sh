#!/bin/sh
# Starts a server, creates state of every kind and copies it: later versions must be
# able to read it. Tasks that must not run are in the queue "later", which has no worker
# here. The server is killed in the end, with a task that runs and one that waits for its
# next attempt.
#
#   test/upgrade/freeze.sh BINARY FOLDER            tasks in SQLite
#   test/upgrade/freeze.sh BINARY FOLDER redis      tasks in Redis, in FOLDER/dump.rdb
set -eu
binary=$1 out=$2 kind=${3:-sqlite}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
port=${PORT:-18888} admin=${ADMIN:-19888} redis_port=${REDIS_PORT:-16379}
url=http://127.0.0.1:$port
broker=sqlite
if [ "$kind" = redis ]; then
	redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$out" --save '' --daemonize no >/dev/null &
	redis=$!
	broker=redis://127.0.0.1:$redis_port
	until redis-cli -p "$redis_port" ping >/dev/null 2>&1; do :; done
fi
"$binary" -port "$port" -admin "127.0.0.1:$admin" -procs 1 -workers 1 -queue default -data "$out/data" \
	-tasks "$here/testdata/before.toml" -broker "$broker" 2>"$out/log" &
server=$!
until curl -fsS "http://127.0.0.1:$admin/readyz" >/dev/null 2>&1; do :; done

post() { curl -fsS "$url/tasks" -H 'Content-Type: application/json' -d "$1"; echo; }
ended() { curl -fsS "$url/tasks/$1?wait=60s" | grep -q "\"state\":\"$2\""; }

curl -fsS -F "a=@$here/../../demo/inspect/testdata/speech.wav" "$url/upload" >"$out/upload.json"; echo
post '{"task":"say","args":["done"],"id":"done"}'
post '{"task":"say","args":["-n"],"id":"wrong","max_retries":0}' || true
post '{"task":"say","args":["waits"],"id":"waits","queue":"later"}'
post '{"task":"say","args":["at its time"],"id":"scheduled","queue":"later","eta":"2036-01-01T00:00:00Z"}'
post '{"task":"say","args":["once"],"id":"unique","queue":"later","unique":"key","unique_for":"8000h"}'
post '{"id":"chain-1","chain":[{"task":"say","args":["begun"],"id":"chain-1"},{"task":"say","queue":"later","id":"chain-2"},{"task":"join","args":["end"],"queue":"later","id":"chain-3"}]}'
post '{"id":"chord","group":[{"task":"say","args":["m1"],"id":"member-1"},{"task":"say","args":["m2"],"id":"member-2","queue":"later"}],"callback":{"task":"join","id":"callback","queue":"later"}}'
post '{"id":"new-1","chain":[{"task":"say","args":["not begun"],"id":"new-1","queue":"later"},{"task":"say","id":"new-2","queue":"later","max_retries":3,"timeout":"90s"}]}'
ended done success
ended chain-1 success
ended member-1 success
sound=$(sed 's/.*"task":"\([^"]*\)".*/\1/' "$out/upload.json")
ended "$sound" success
post '{"task":"fails","id":"failed","max_retries":0}'
ended failed failed
post '{"task":"say","args":["never"],"id":"cancelled","queue":"later"}'
curl -fsS -X DELETE "$url/tasks/cancelled"
post '{"task":"kills","id":"dead"}'
until ended dead dead; do :; done
"$binary" tasks queues pause paused -data "$out/data" -broker "$broker"

# A resumable upload in one request, and half of one.
curl -fsS -o /dev/null -X POST "$url/tus/" -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' -H 'Content-Type: application/offset+octet-stream' \
	-H "Upload-Metadata: filename $(printf whole.txt | base64),directory $(printf a | base64)" --data-binary 01234
place=$(curl -fsS -D - -o /dev/null -X POST "$url/tus/" -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 10' \
	-H "Upload-Metadata: filename $(printf half.txt | base64),directory $(printf a | base64)" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
printf 01234 | curl -fsS -X PATCH "$url${place#"$url"}" -H 'Tus-Resumable: 1.0.0' -H 'Upload-Offset: 0' \
	-H 'Content-Type: application/offset+octet-stream' --data-binary @-
printf '%s\n' "${place#"$url"}" >"$out/half"

post '{"task":"waits","id":"running"}'
until curl -fsS "$url/tasks/running" | grep -q '"state":"running"'; do :; done
post '{"task":"fails","id":"retrying","max_retries":20}'
until curl -fsS "$url/tasks/retrying" | grep -q '"state":"retrying"'; do :; done
kill -KILL $server
wait $server || true
# The processes of the server end after the master; then the port is free.
while curl -s -o /dev/null "$url/healthz"; do :; done
if [ "$kind" = redis ]; then
	redis-cli -p "$redis_port" save >/dev/null
	kill -TERM $redis
	wait $redis
fi
rm -f "$out/log"

#!/bin/sh
# A worker with one task, word_count, which returns the number of words in its argument.
# It needs curl. sed is enough for the JSON of this task; use a JSON library for yours.
set -eu

# call NAME JSON sends a request of the worker protocol and prints the response.
call() {
  curl -fsS --unix-socket "${GALE_URL#unix:}" -H 'Content-Type: application/json' -d "$2" "http://gale/workers/$1"
}
# text NAME prints the first text with a name in the JSON on standard input.
text() { sed -n 's/.*"'"$1"'":\[\{0,1\}"\([^"]*\)".*/\1/p'; }

leaving=
trap 'leaving=yes' TERM

session=$(call announce '{"worker":"'"$GALE_WORKER"'","tasks":[{"name":"word_count"}]}' | text session)
queues=$(echo "$GALE_QUEUES" | sed 's/,/","/g; s/.*/["&"]/')
while [ -z "$leaving" ]; do
  # Waits up to 25 seconds. The response comes at once when this program gets TERM.
  response=$(call lease '{"session":"'"$session"'","queues":'"$queues"',"max":1,"wait":25,"holds":[]}')
  lease=$(echo "$response" | text lease)
  [ -n "$lease" ] || continue
  words=$(echo "$response" | text args | wc -w)
  echo "counted $words words"
  call finish '[{"lease":"'"$lease"'","state":"success","result":'"$words"'}]'
done

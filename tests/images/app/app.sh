#!/bin/bash
# App: writes the same number to two databases, a named volume and a bind mount, one after the other, round after
# round. A stop signal ends the round first, so in a stack that was stopped in order all four are equal.
set -euo pipefail
pause=${ROUND_PAUSE:-0.2}
stopping=""
trap 'stopping=yes' TERM INT

declare -A ask answer
session() { # NAME: a psql that stays, with its input and output in ask[NAME] and answer[NAME]
  local name=$1 in out
  rm -f "/tmp/$name.in" "/tmp/$name.out"
  mkfifo "/tmp/$name.in" "/tmp/$name.out"
  psql -XAtq -v ON_ERROR_STOP=1 -d "$name" <"/tmp/$name.in" >"/tmp/$name.out" &
  exec {in}>"/tmp/$name.in" {out}<"/tmp/$name.out"
  ask[$name]=$in answer[$name]=$out
}
query() { # NAME SQL: the one line that it answers, in $line
  printf '%s\n' "$2" >&"${ask[$1]}"
  read -r line <&"${answer[$1]}" || { echo "app: the database $1 is gone" >&2; exit 1; }
}
last() { [ -s "$1" ] && tail -n 1 "$1" || echo 0; }

session shop
session ledger
query shop 'SELECT coalesce(max(number), 0) FROM visit;'
shop=$line
query ledger 'SELECT coalesce(max(number), 0) FROM entry;'
ledger=$line
volume=$(last /data/rounds.log)
bind=$(last /uploads/rounds.log)
echo "app: starts at shop=$shop ledger=$ledger volume=$volume bind=$bind"
number=$shop
for other in "$ledger" "$volume" "$bind"; do
  [ "$other" = "$shop" ] || echo "app: the counters differ"
  [ "$other" -le "$number" ] || number=$other
done

while [ -z "$stopping" ]; do
  number=$((number + 1))
  query shop "INSERT INTO visit (number) VALUES ($number) RETURNING number;"
  query ledger "INSERT INTO entry (number, amount) VALUES ($number, $number * 0.01) RETURNING number;"
  printf '%s\n' "$number" >>/data/rounds.log
  printf 'the page of round %s\n' "$number" >"/data/page-$((number % 50)).txt"
  printf '%s\n' "$number" >>/uploads/rounds.log
  : >/tmp/round
  [ -n "$stopping" ] || sleep "$pause"
done
echo "app: stops at $number"

# Narrate: what the demo says, and the table at its end. Sourced, not run.
# shellcheck shell=bash disable=SC2154

rows=() failures=0 finished=""

if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
else
  bold="" dim="" plain=""
fi

heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*" | fold -s -w 110; }
fail() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}
# The command as it would be typed.
shown() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; }

seconds() { awk -v ns="$1" 'BEGIN { printf "%.1f", ns / 1e9 }'; }

# step NAME COMMAND…: runs it, and keeps how long it took for the table.
step() {
  local name=$1 began
  shift
  began=$(date +%s%N)
  "$@"
  took=$(($(date +%s%N) - began))
  rows+=("$name|$(seconds "$took")|-")
  printf '%s(%s s)%s\n' "$dim" "$(seconds "$took")" "$plain"
}

# Adds the bytes that the newest run moved to the row made last.
bytes_of_run() {
  local row=${rows[-1]} read stored
  read -r read stored < <(quiet_ctl --output json run list --stack "$stack" --limit 1 | jq -r '.[0].totals | "\(.read_bytes) \(.stored_bytes)"')
  rows[-1]="${row%|*}|$(human "$read") read, $(human "$stored") stored"
  [[ $row != restored* ]] || rows[-1]="${row%|*}|$(human "$read") written"
}

human() { numfmt --to=iec-i --suffix=B --format=%.1f "$1"; }

summary() {
  finished=yes
  heading "What that took"
  {
    echo "STEP|SECONDS|BYTES"
    printf '%s\n' "${rows[@]}"
  } | column -t -s '|'
  heading "Everything still runs. Look around:"
  cat <<END
  alias ctl='$programs/ctl --config $state/controller/admin.toml'
  ctl stack show $stack
  ctl run list                    what happened since the controller was made anew
  ctl snapshot show ${first:0:8}      components, sizes, evidence
  ctl snapshot files ${first:0:8}
  ctl repo check $stack --read-data
  docker ps                       the stack itself; its project is in $state/$stack
  less $state/log/agent.log $state/log/controller.log

  deploy/demo --clean             removes all of it
END
  if [ "$failures" != 0 ]; then
    heading "$failures COMPARISONS FAILED: see above"
    exit 1
  fi
}

# At the end, whatever it was.
ended() {
  [ -n "$finished" ] && return
  [ "$1" != 0 ] || return 0
  printf '\ndemo: it ended early, with status %s. What there is: %s; its end:\n' "$1" "$state/log" >&2
  tail -n 15 "$state"/log/*.log >&2 2>/dev/null || true
  printf 'demo: `deploy/demo --clean` removes what it has made\n' >&2
}

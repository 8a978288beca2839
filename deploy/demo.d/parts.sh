# Parts: the controller, the agent and ctl of the demo. Sourced, not run.
# shellcheck shell=bash disable=SC2154

host=${LAZARETTE_DEMO_HOST:-demo}

quiet_ctl() { "$programs/ctl" --config "$state/controller/admin.toml" "$@"; }
ctl() {
  shown "ctl $*"
  quiet_ctl "$@"
}

started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# start_part NAME COMMAND…: runs it in the background, with its log and its number noted.
start_part() {
  local name=$1
  shift
  setsid "$@" </dev/null >>"$state/log/$name.log" 2>&1 &
  echo "$! $(started $!)" >"$state/run/$name"
  disown
}

is_part_alive() {
  local pid start
  read -r pid start 2>/dev/null <"$state/run/$1" && [ "$(started "$pid")" = "$start" ]
}

stop_part() {
  local pid start end=$((SECONDS + 60))
  is_part_alive "$1" || { rm -f "$state/run/$1"; return 0; }
  read -r pid start <"$state/run/$1"
  kill -TERM "$pid"
  while is_part_alive "$1"; do
    [ $SECONDS -lt $end ] || fail "the $1 (process $pid) does not end"
    sleep 0.1
  done
  rm -f "$state/run/$1"
}

# Waits for COMMAND, at most SECONDS, while part NAME lives.
wait_part() { # NAME SECONDS COMMAND…
  local name=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    is_part_alive "$name" || fail "the $name ended: $(tail -n 3 "$state/log/$name.log")"
    [ $SECONDS -lt $end ] || fail "the $name is not ready after that time: $(tail -n 3 "$state/log/$name.log")"
    sleep 0.1
  done
}

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_new_controller() {
  local said
  port=7443
  until is_free $port; do port=$((port + 1)); done
  shown "lazarette-controller init --dir $state/controller --address 127.0.0.1:$port"
  said=$("$programs/lazarette-controller" init --dir "$state/controller" --address "127.0.0.1:$port" --listen "127.0.0.1:$port")
  printf '%s\n' "$said"
  # As an operator would write it down, once.
  if [ ! -e "$state/recovery-passphrase" ]; then
    (umask 077 && passphrase_in "$said" >"$state/recovery-passphrase")
    [ -s "$state/recovery-passphrase" ] || fail "find the recovery passphrase in what init printed"
  fi
  serve_controller
}

# It stands behind `passphrase: `, or in the first line with words below that.
passphrase_in() {
  awk 'found && NF { sub(/^[ \t]+/, ""); print; exit }
    tolower($0) ~ /passphrase/ { found = 1; if (match($0, /: +[^ ]/)) { print substr($0, RSTART + RLENGTH - 1); exit } }' <<<"$1"
}

serve_controller() {
  shown "lazarette-controller serve --config $state/controller/controller.toml"
  start_part controller "$programs/lazarette-controller" serve --config "$state/controller/controller.toml"
  wait_part controller 30 quiet_ctl host list
}

enroll_host() {
  local token
  stop_part agent
  mkdir -p "$state/agent"
  # As docs/how-to/recover-a-lost-controller.md says: what the host was to the lost controller goes.
  [ -z "${1:-}" ] || rm -rf "$state/agent/identity"
  (
    umask 077
    printf 'state_dir = "%s"\ndocker_socket = "/var/run/docker.sock"\npolicy_file = "%s"\n' "$state/agent" "$state/agent/policy.toml" >"$state/agent/agent.toml"
    # Only our stack: whatever else is on this machine is none of the demo's business.
    printf 'allow_backup = true\nallow_restore = true\nstacks = ["%s"]\n' "$stack" >"$state/agent/policy.toml"
  )
  shown "token=\$(ctl host invite $host)"
  token=$(quiet_ctl host invite "$host" 2>/dev/null)
  shown "lazarette-agent enroll \$token --state-dir $state/agent"
  "$programs/lazarette-agent" enroll "$token" --state-dir "$state/agent"
  shown "lazarette-agent run --config $state/agent/agent.toml"
  start_part agent "$programs/lazarette-agent" run --config "$state/agent/agent.toml"
  wait_part agent 30 is_connected
}

is_connected() { quiet_ctl --output json host list | jq -e --arg host "$host" '.[] | select(.name == $host) | .connected' >/dev/null; }

newest_snapshot() { quiet_ctl --output json snapshot list "$stack" | jq -r '.[0].snapshot_id'; }

check_with_restic() {
  local location
  location=$(quiet_ctl --output json repo show "$stack" | jq -r .location)
  shown "export RESTIC_PASSWORD=\$(ctl repo password $stack)"
  shown "restic --repo $location check --read-data"
  RESTIC_PASSWORD=$(quiet_ctl repo password "$stack" 2>/dev/null) "$restic" --no-cache --repo "$location" check --read-data
}

# Everything of the controller goes, but for its repositories; a new one gets these.
lose_controller() {
  stop_part controller
  stop_part agent
  mkdir -p "$state/lost"
  mv "$state/controller/repositories" "$state/lost/repositories"
  shown "rm -rf $state/controller     # but for repositories/"
  rm -rf "$state/controller"
  shown "lazarette-controller init --dir $state/controller --address 127.0.0.1:$port"
  "$programs/lazarette-controller" init --dir "$state/controller" --address "127.0.0.1:$port" --listen "127.0.0.1:$port" >"$state/log/init.log"
  shown "mv lost/repositories/* controller/repositories/"
  mkdir -p "$state/controller/repositories"
  mv "$state/lost/repositories"/* "$state/controller/repositories/"
  rm -rf "$state/lost"
  serve_controller
}

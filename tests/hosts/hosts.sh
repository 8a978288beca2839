#!/usr/bin/env bash
# Hosts: Docker hosts for tests, several on one machine. Each has its own network, mounts, host name and
# processes, and a Docker Engine on the default paths; nothing of it is seen outside, and it goes without a trace.
#
#   hosts.sh open                   opens a run of tests, prints its number
#   hosts.sh RUN up NAME [IMAGES]   a new host, its engine started; IMAGES: a directory with its data-root, and srv
#   hosts.sh RUN start NAME         a host again that was crashed or stopped
#   hosts.sh RUN stop NAME          as an orderly shutdown: containers get their stop signal
#   hosts.sh RUN crash NAME         as a power cut: SIGKILL to everything on it
#   hosts.sh RUN engine-start|engine-stop|engine-kill NAME     its Docker Engine alone
#   hosts.sh RUN sh NAME CMD…       runs a command there
#   hosts.sh RUN pid|address|dir NAME
#   hosts.sh RUN down NAME          away with it, its data too
#   hosts.sh RUN close              away with all of the run
#   hosts.sh RUN keeper             closes the run when its standard input ends
#   hosts.sh RUN home               where the run's files are; what is in home/.data goes with the run
#   hosts.sh RUN left               says what is left of the run, and fails if anything is
#   hosts.sh sweep                  closes the runs whose owner is gone
#
# The network of run R is 10.77.R.0/24: hosts from .1 up, this machine at .254. Hosts have no way out of it.
# LAZARETTE_NETWORK=machine makes a host on the machine's own network instead, whose containers share it: to build
# images with. A host's own /etc, /var/lib and /srv lie over the machine's; the rest of the file system is the machine's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/places.sh
. "$here/../lib/places.sh"

fail() {
  echo "hosts.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# Waits until a command holds, at most so many seconds.
wait_for() {
  local seconds=$1 end
  shift
  end=$((SECONDS + seconds + 1))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.02
  done
}

# --- runs -----------------------------------------------------------------------------------------------

# When a process began, in clock ticks: a process id alone may be another program's by now.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

open_run() {
  local owner=${LAZARETTE_OWNER:-$PPID} number
  mkdir -p "$hosts"
  chmod 700 "$hosts"
  sweep
  for number in $(seq 1 250); do
    # The name of its network namespace is what makes a run's number ours, whatever directory others use.
    ip netns add "lz$number-lan" 2>/dev/null || continue
    use_run "$number"
    mkdir -p "$dir"
    echo "$owner $(began "$owner")" >"$dir/owner"
    lan
    echo "$number"
    return
  done
  fail "no free run among 250: hosts.sh sweep"
}

sweep() {
  local directory owner start now
  for directory in "$hosts"/[0-9]*/; do
    [ -e "$directory/owner" ] || continue
    read -r owner start <"$directory/owner" || continue
    now=$(began "$owner" || true)
    if [ -z "$now" ] || [ "$now" != "$start" ]; then "${BASH_SOURCE[0]}" "$(basename "$directory")" close || true; fi
  done
}

use_run() {
  run=$1
  case $run in '' | *[!0-9]*) usage ;; esac
  dir=$hosts/$run
  net=10.77.$run
  lan=lz$run-lan
  root_link=lzroot$run
  cgroup=lazarette/$run
}

lan() {
  ip -n "$lan" link add br0 type bridge
  ip -n "$lan" link set br0 up
  ip -n "$lan" link set lo up
  ip netns exec "$lan" sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true
  ip link add "$root_link" type veth peer name root netns "$lan"
  ip -n "$lan" link set root master br0 up
  ip addr add "$net.254/24" dev "$root_link"
  ip link set "$root_link" up
}

# --- one host -------------------------------------------------------------------------------------------

use_host() {
  host=$1
  case $host in '' | *[!a-z0-9-]*) fail "a host's name is of a-z, 0-9 and -: \`$host\`" ;; esac
  [ ${#host} -le 40 ] || fail "a host's name has at most 40 letters: \`$host\`"
  home=$dir/$host
  netns=lz$run-$host
  sock=$home/docker.sock
}

known() { [ -d "$home" ] || fail "no host $host in run $run"; }

address() { echo "$net.$(cat "$home/number")"; }

# The host's first process as the machine sees it.
init_pid() {
  local pid start
  read -r pid start 2>/dev/null <"$home/init.pid" || return 1
  [ "$(began "$pid")" = "$start" ] || return 1
  echo "$pid"
}

inside() {
  local pid
  pid=$(init_pid) || fail "host $host does not run"
  nsenter -t "$pid" -m -n -u -i -p -r -w"${INSIDE_DIR:-/}" "$@"
}

create() {
  local images=${1:-} number
  mkdir -p "$home"
  for number in $(seq 1 250); do
    mkdir "$dir/.n$number" 2>/dev/null && break
  done
  echo "$number" >"$home/number"
  echo "${LAZARETTE_NETWORK:-own}" >"$home/network"
  mkdir -p "$home"/{docker,etc-docker,srv,etc,etc.work,lib,lib.work}
  [ -z "$images" ] || clone_images "$images/data-root" "$home/docker"
  [ ! -d "$images/srv" ] || cp -a "$images/srv/." "$home/srv/"
}

# A data root begun as a copy of another: image layers, which are never written again, as links.
clone_images() {
  local from=$1 to=$2 entry
  [ -d "$from/overlay2" ] || fail "no data root with images: $from"
  for entry in "$from"/*; do
    case ${entry##*/} in
      overlay2 | tmp | runtimes | engine-id) ;;
      *) cp -a "$entry" "$to/" ;;
    esac
  done
  cp -al "$from/overlay2" "$to/overlay2" 2>/dev/null || { rm -rf "$to/overlay2" && cp -a "$from/overlay2" "$to/overlay2"; }
  chmod --reference="$from" "$to"
}

wire() {
  local number
  [ "$(cat "$home/network")" = own ] || return 0
  [ ! -e "/run/netns/$netns" ] || return 0
  number=$(cat "$home/number")
  ip netns add "$netns"
  ip link add "e$number" netns "$lan" type veth peer name eth0 netns "$netns"
  ip -n "$lan" link set "e$number" master br0 up
  ip -n "$netns" link set lo up
  ip -n "$netns" addr add "$(address)/24" dev eth0
  ip -n "$netns" link set eth0 up
  ip -n "$netns" route add default via "$net.254"
}

boot() {
  ! init_pid >/dev/null || fail "host $host runs already"
  rm -f "$home/ready" "$home/init.pid"
  local network=()
  [ "$(cat "$home/network")" = machine ] || network=(nsenter "--net=/run/netns/$netns")
  setsid unshare --mount --uts --ipc --pid --fork --kill-child=KILL --propagation private \
    "${network[@]}" bash "$here/init.sh" "$home" "$host" "$cgroup/$host" \
    </dev/null >>"$home/init.log" 2>&1 &
  local outer=$! pid
  wait_for 10 test -e "$home/ready" || { cat "$home/init.log" >&2; fail "host $host did not come up"; }
  pid=$(tr -d ' ' <"/proc/$outer/task/$outer/children")
  echo "$pid $(began "$pid")" >"$home/init.pid"
}

answers() { [ -S "$sock" ] && curl -sf -m 2 --unix-socket "$sock" http://docker/_ping >/dev/null; }

engine_start() {
  rm -f "$sock"
  inside bash "$here/engine.sh" "$home" "$cgroup/$host" </dev/null >>"$home/dockerd.log" 2>&1
  wait_for 30 answers || { tail -20 "$home/dockerd.log" >&2; fail "the Docker Engine of $host did not come up"; }
}

engine_pid() { inside cat /run/docker.pid 2>/dev/null; }

engine_gone() { ! inside test -d "/proc/$1" 2>/dev/null; }

engine_end() {
  local signal=$1 pid
  pid=$(engine_pid) || return 0
  inside kill "-$signal" "$pid" 2>/dev/null || return 0
  wait_for 60 engine_gone "$pid" || fail "the Docker Engine of $host did not end after SIG$signal"
}

gone() { [ ! -d "/proc/$1" ]; }

crash() {
  local pid
  pid=$(init_pid) || return 0
  kill -KILL "$pid" 2>/dev/null || true
  wait_for 20 gone "$pid" || fail "the processes of $host did not end"
}

down() {
  [ -d "$home" ] || return 0
  crash
  ip netns del "$netns" 2>/dev/null || true
  drop_cgroup "$cgroup/$host"
  local number
  number=$(cat "$home/number" 2>/dev/null || true)
  rm -rf "$home"
  [ -z "$number" ] || rmdir "$dir/.n$number" 2>/dev/null || true
}

# Removes a control group of every kind, and what still runs in it: a host half made has no first process noted.
drop_cgroup() {
  local tree
  find /sys/fs/cgroup -path "*/$1/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null
  for tree in /sys/fs/cgroup "/sys/fs/cgroup"/*/; do
    [ -d "$tree/$1" ] || continue
    wait_for 5 drop_tree "$tree/$1" || true
  done
}

drop_tree() {
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
  [ ! -d "$1" ]
}

close_run() {
  [ -d "$dir" ] || return 0
  local entry note pid start
  set +e # whatever cannot be undone must not keep the rest
  for note in "$dir"/.pids/*; do
    read -r pid start 2>/dev/null <"$note" || continue
    [ "$(began "$pid")" != "$start" ] || kill -KILL "$pid" || true
  done
  for entry in "$dir"/*/; do
    [ -d "$entry" ] || continue
    use_host "$(basename "$entry")"
    down || true
  done
  grep -F " $dir/" /proc/mounts | cut -d' ' -f2 | sort -r | while read -r entry; do umount -l "$entry" || true; done
  ip link del "$root_link" 2>/dev/null || true
  ip netns del "$lan" 2>/dev/null || true
  drop_cgroup "$cgroup"
  rmdir /sys/fs/cgroup/lazarette /sys/fs/cgroup/*/lazarette 2>/dev/null || true
  rm -rf "$dir"
}

left() {
  local found=0
  report() {
    [ -z "$2" ] || { echo "left of run $run: $1: $2" >&2 && found=1; }
  }
  report namespaces "$(find /run/netns -maxdepth 1 -name "lz$run-*" 2>/dev/null | xargs)"
  report links "$(find /sys/class/net -maxdepth 1 -name "$root_link" | xargs)"
  report mounts "$(grep -F " $dir/" /proc/mounts | cut -d' ' -f2 | xargs)"
  report processes "$(pgrep -f -- "$dir/" | grep -vx "$$" | xargs)"
  report cgroups "$(find /sys/fs/cgroup -maxdepth 3 -path "*/$cgroup" 2>/dev/null | xargs)"
  report files "$(find "$dir" -maxdepth 0 2>/dev/null)"
  return $found
}

[ "$(id -u)" = 0 ] || fail "must be root"
case ${1:-} in
  open) open_run && exit ;;
  sweep) sweep && exit ;;
esac
use_run "${1:-}"
command=${2:-}
shift 2 || usage
case $command in
  keeper)
    cat >/dev/null
    exec "${BASH_SOURCE[0]}" "$run" close
    ;;
  close)
    # One at a time: a keeper and an impatient owner may close the same run.
    [ -d "$dir" ] || exit 0
    exec 9>"$dir/lock"
    flock 9
    close_run 9>&-
    ;;
  left) left ;;
  home) echo "$dir" ;;
  *)
    use_host "${1:-}"
    shift
    case $command in
      up | start | stop | engine-*)
        [ -e "$dir/owner" ] || fail "no open run $run in $hosts"
        # Whoever closes the run ends this first.
        mkdir -p "$dir/.pids"
        echo "$$ $(began $$)" >"$dir/.pids/$$"
        trap 'rm -f "$dir/.pids/$$"' EXIT
        ;;
    esac
    case $command in
      up)
        [ ! -d "$home" ] || fail "host $host is there already"
        create "${1:-}"
        wire
        boot
        engine_start
        ;;
      start) known && wire && boot && engine_start ;;
      stop) known && engine_end TERM && crash ;;
      crash) known && crash ;;
      engine-start) known && engine_start ;;
      engine-stop) known && engine_end TERM ;;
      engine-kill) known && engine_end KILL ;;
      sh) known && inside "$@" ;;
      pid) known && init_pid ;;
      address) known && address ;;
      dir) known && echo "$home" ;;
      down) down ;;
      *) usage ;;
    esac
    ;;
esac

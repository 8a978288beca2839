#!/usr/bin/env bash
# Docker Engine: makes sure that this machine's own answers, and takes back what that took.
#
#   deploy/docker-engine.sh ensure    installs it if it is missing, starts it if it does not run
#   deploy/docker-engine.sh release   stops it if `ensure` started it; its data goes if there was none before
#
# With systemd it is started as a service; without, as a process whose log and number are in the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
notes=${LAZARETTE_CACHE:-${HOME:-/root}/.cache/lazarette}/docker-engine
export DOCKER_HOST=unix:///var/run/docker.sock
unset DOCKER_CONTEXT

answers() { timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
with_systemd() { [ -d /run/systemd/system ]; }
wait_for() { # SECONDS COMMAND…
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

# A machine without systemd may have no control groups mounted.
mount_cgroups() {
  mountpoint -q /sys/fs/cgroup && return
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  touch "$notes/mounted-cgroups"
}

ensure() {
  "$here/packages.sh" docker
  answers && return
  if [ "$(id -u)" != 0 ]; then
    echo "docker-engine.sh: Docker Engine does not answer, and only root can start it" >&2
    exit 1
  fi
  mkdir -p "$notes"
  [ -d /var/lib/docker ] || touch "$notes/had-no-data"
  [ -e /etc/docker/key.json ] || touch "$notes/had-no-key"
  command -v iptables >/dev/null && iptables -S FORWARD 2>/dev/null | head -1 >"$notes/forward"
  sysctl -n net.ipv4.ip_forward >"$notes/ip-forward"
  if with_systemd; then
    echo "starting Docker Engine (systemctl start docker)" >&2
    systemctl start docker
    touch "$notes/service"
  else
    echo "starting Docker Engine (dockerd; log in $notes/log)" >&2
    mount_cgroups
    rm -f /var/run/docker.pid
    setsid dockerd -H unix:///var/run/docker.sock </dev/null >>"$notes/log" 2>&1 &
    echo "$! $(sed 's/.*) //' "/proc/$!/stat" | cut -d' ' -f20)" >"$notes/process"
  fi
  if ! wait_for 60 answers; then
    tail -20 "$notes/log" >&2 || true
    echo "docker-engine.sh: Docker Engine does not answer after 60 s" >&2
    exit 1
  fi
}

# What dockerd leaves behind in the kernel.
take_back_network() {
  ip link del docker0 2>/dev/null || true
  command -v iptables >/dev/null || return 0
  local table chain rule
  for table in filter nat; do
    { iptables -t $table -S | grep -E -- '-j DOCKER|docker0' | grep '^-A [A-Z]' | sed 's/^-A/-D/' || true; } |
      while read -r rule; do xargs iptables -t $table <<<"$rule" 2>/dev/null || true; done
    for pass in F X; do
      { iptables -t $table -S | grep -oE '^-N DOCKER[A-Z0-9-]*' | cut -d' ' -f2 || true; } |
        while read -r chain; do iptables -t $table -$pass "$chain" 2>/dev/null || true; done
    done
  done
  case $(cat "$notes/forward" 2>/dev/null) in *ACCEPT) iptables -P FORWARD ACCEPT ;; esac
  [ "$(cat "$notes/ip-forward" 2>/dev/null)" != 0 ] || sysctl -qw net.ipv4.ip_forward=0 || true
}

release() {
  [ -d "$notes" ] || return 0
  local pid start
  if [ -e "$notes/service" ]; then
    systemctl stop docker.service docker.socket || true
  elif read -r pid start 2>/dev/null <"$notes/process"; then
    if [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$start" ]; then
      kill -TERM "$pid"
      gone() { [ ! -d "/proc/$pid" ]; }
      wait_for 60 gone || { echo "docker-engine.sh: dockerd ($pid) does not end" >&2; exit 1; }
    fi
  fi
  take_back_network
  [ ! -e "$notes/mounted-cgroups" ] || umount /sys/fs/cgroup || true
  [ ! -e "$notes/had-no-data" ] || rm -rf /var/lib/docker /var/lib/docker-engine
  [ ! -e "$notes/had-no-key" ] || rm -f /etc/docker/key.json
  [ ! -e "$notes/process" ] || rm -rf /var/run/docker /var/run/docker.sock
  for tree in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    [ ! -d "$tree/docker" ] || find "$tree/docker" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  rm -rf "$notes"
}

case ${1:-} in
  ensure | release) "$1" ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

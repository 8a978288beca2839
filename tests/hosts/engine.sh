#!/usr/bin/env bash
# Engine: starts the Docker Engine of a test host, from inside it.   engine.sh HOME CGROUP
# LAZARETTE_ENGINE names a directory with another version's programs; LAZARETTE_DOCKERD has more flags.
set -euo pipefail
home=$1 cgroup=$2

for tree in /sys/fs/cgroup /sys/fs/cgroup/*/; do
  [ -d "$tree/$cgroup/host" ] && echo $$ >"$tree/$cgroup/host/cgroup.procs" || true
done
[ -z "${LAZARETTE_ENGINE:-}" ] || PATH=$LAZARETTE_ENGINE:$PATH
rm -f /run/docker.pid /run/docker/containerd/containerd.pid
network=(--bip 172.20.0.1/16 --default-address-pool base=10.100.0.0/16,size=24)
# On the machine's own network nothing of it may change.
[ "$(cat "$home/network")" = own ] || network=(--bridge none --iptables=false --ip-forward=false --ip-masq=false)
# shellcheck disable=SC2086
setsid dockerd -H unix:///run/docker.sock -H "unix://$home/docker.sock" \
  --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup/containers" \
  "${network[@]}" ${LAZARETTE_DOCKERD:-} </dev/null &

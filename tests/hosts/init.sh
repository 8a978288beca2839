#!/usr/bin/env bash
# Init: the first process of a test host; lays the host's own directories over the machine's and then
# takes in orphans until it is killed.   init.sh HOME NAME CGROUP
set -euo pipefail
home=$1 name=$2 cgroup=$3

mount -t proc proc /proc
hostname "$name"
# What the machine has mounted is not to be kept busy by us: network namespaces and test file systems of others.
for mount in $(awk '$2 ~ "^(/run/netns|/mnt/)" || $2 ~ "/lazarette[^/]*/(loops|hosts)/" {print $2}' /proc/mounts | sort -r); do
  umount -l "$mount" 2>/dev/null || true
done

for directory in etc lib; do
  target=/etc
  [ $directory = etc ] || target=/var/lib
  mount -t overlay -o "lowerdir=$target,upperdir=$home/$directory,workdir=$home/$directory.work" overlay "$target"
done
mkdir -p /var/lib/docker /etc/docker
mount --rbind "$home/docker" /var/lib/docker
mount --bind "$home/etc-docker" /etc/docker
mount --bind "$home/srv" /srv
mount -t tmpfs -o mode=755 tmpfs /run
[ -L /var/run ] || mount --bind /run /var/run

# All of the host in one control group: a limit, or a freeze, is one write. (Version 2 wants its processes in a leaf.)
for tree in /sys/fs/cgroup /sys/fs/cgroup/*/; do
  [ -e "$tree/cgroup.procs" ] && [ ! -e "$tree/cpuset.cpus" ] || continue
  mkdir -p "$tree/$cgroup/host" && echo 1 >"$tree/$cgroup/host/cgroup.procs" || true
done

touch "$home/ready"
trap 'exit 0' TERM
while :; do
  sleep infinity &
  wait $! || true
done

#!/usr/bin/env bash
# Packages: what a bare Debian machine lacks for one of our jobs, installed by the apt it has.
#
#   deploy/packages.sh docker     Docker Engine, to run stacks on this machine
#   deploy/packages.sh tests      what tests/run needs: Docker Engine's programs and tools for faults
#   deploy/packages.sh build      a C compiler, for the crates that hold C
#
# Installs only what is missing, says what that is, and starts no service. Safe to repeat.
set -euo pipefail

docker_packages="docker.io iptables ca-certificates"
tests_packages="$docker_packages iproute2 util-linux debootstrap xfsprogs acl attr jq curl unzip python3-pip restic"
build_packages="gcc libc6-dev make cmake"

wanted=""
for group in "$@"; do
  case $group in
    docker) wanted+=" $docker_packages" ;;
    tests) wanted+=" $tests_packages" ;;
    build) wanted+=" $build_packages" ;;
    *) echo "packages.sh: no group \`$group\`: docker, tests or build" >&2; exit 2 ;;
  esac
done

# A program that came from elsewhere (a newer Docker Engine, a pip of one's own) is as good as the package's.
provided() {
  case $1 in
    docker.io) command -v dockerd >/dev/null && command -v docker >/dev/null ;;
    python3-pip) command -v pip >/dev/null ;;
    gcc | make | cmake | jq | curl | unzip | restic | iptables | debootstrap) command -v "$1" >/dev/null ;;
    *) dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed ;;
  esac
}

missing=""
for package in $wanted; do
  case " $missing " in *" $package "*) continue ;; esac
  provided "$package" || missing+=" $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "packages.sh: this machine has no apt-get; install by hand:$missing" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "packages.sh: must be root to install:$missing" >&2
  exit 1
fi

echo "installing:$missing" >&2
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=""
# Debian's packages start their services at once, and would start a Docker Engine that nobody asked for.
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  made_policy=yes
fi
trap 'rm -f "$log"; [ -z "$made_policy" ] || rm -f "$policy"' EXIT

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -y -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --no-install-recommends)
# shellcheck disable=SC2086
if ! { "${apt[@]}" update && "${apt[@]}" install $missing; } >"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  echo "packages.sh: apt-get could not install:$missing" >&2
  exit 1
fi

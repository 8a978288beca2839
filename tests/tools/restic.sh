#!/usr/bin/env bash
# Prints the path of restic 0.18, the referee and peer of the repository's tests.
#
# It is the Debian package of trixie, fetched and verified by apt with a configuration of its own,
# from the mirror that this machine's apt uses, and unpacked into a cache: nothing is installed.
# LAZARETTE_RESTIC names a binary to be used instead. Doing it twice is doing it once.
set -euo pipefail

say() { printf 'restic.sh: %s\n' "$*" >&2; }

if [ -n "${LAZARETTE_RESTIC:-}" ]; then
  [ -x "$LAZARETTE_RESTIC" ] || { say "LAZARETTE_RESTIC=$LAZARETTE_RESTIC is no program"; exit 1; }
  printf '%s\n' "$LAZARETTE_RESTIC"
  exit 0
fi

suite=trixie
tools="${LAZARETTE_CACHE:-$HOME/.cache/lazarette}/tools"
binary="$tools/restic-$suite"
if [ -x "$binary" ]; then
  printf '%s\n' "$binary"
  exit 0
fi

mkdir -p "$tools"
exec 9>"$tools/restic.lock"
flock 9
if [ -x "$binary" ]; then
  printf '%s\n' "$binary"
  exit 0
fi

# The first http(s) mirror of a Debian archive among this machine's sources, in either format.
mirror=$(
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) +[^ ]+ .*\bmain\b.*/\2/p'
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null |
      sed -nE 's/^URIs: *([^ ]+).*/\1/p'
  } | grep -E '^https?://.*/debian/?$' | head -n 1
) || true
[ -n "$mirror" ] || { say "no Debian mirror among this machine's apt sources"; exit 1; }

work=$(mktemp -d "$tools/restic.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,etc}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$work/etc/sources.list"
: >"$work/status"
apt_own=(
  -o Dir::Etc::sourcelist="$work/etc/sources.list"
  -o Dir::Etc::sourceparts=/dev/null
  -o Dir::State="$work"
  -o Dir::State::lists="$work/lists"
  -o Dir::State::status="$work/status"
  -o Dir::Cache="$work"
  -o Dir::Cache::archives="$work/archives"
  -o APT::Sandbox::User=root
  -o Acquire::Languages=none
)
say "fetching restic of $suite"
apt-get "${apt_own[@]}" -q update >&2
(cd "$work" && apt-get "${apt_own[@]}" -q download restic >&2)
dpkg-deb -x "$work"/restic_*.deb "$work/root"
"$work/root/usr/bin/restic" version >&2
install -m 0755 "$work/root/usr/bin/restic" "$binary.new"
mv "$binary.new" "$binary"
printf '%s\n' "$binary"

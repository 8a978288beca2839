# Machine: what the demo needs of this machine, and how it is taken back. Sourced, not run.
# shellcheck shell=bash disable=SC2154

unset DOCKER_CONTEXT
export DOCKER_HOST=unix:///var/run/docker.sock
stack=${LAZARETTE_DEMO_STACK:-shop}
notes=$state/notes
images="pgvector/pgvector:pg17 lazarette/shop-app:1"

# The stack of the tests, in a directory of the demo.
shop() { SHOP_NAME=$stack SHOP_DIR=$state/$stack SHOP_ROWS=${SHOP_ROWS:-20000} "$here/../tests/stacks/shop/shop.sh" "$@"; }

prepare_machine() {
  heading "0. What is needed"
  mkdir -p "$notes" "$state/log" "$state/run"
  if ! command -v cargo >/dev/null && [ -z "${LAZARETTE_PROGRAMS:-}" ]; then
    fail "there is no cargo; install Rust (https://rustup.rs), the version is in rust-toolchain.toml"
  fi
  "$here/packages.sh" docker tests build
  build_programs
  restic=$("$here/../tests/tools/restic.sh" 2>/dev/null) || fail "there is no restic: tests/tools/restic.sh says why"
  "$here/docker-engine.sh" ensure
  say "Docker Engine $(docker version --format '{{.Server.Version}}'), $("$restic" version | cut -d' ' -f1-2), programs in $programs"
  load_images
}

build_programs() {
  local profile=${LAZARETTE_PROFILE:-release} flag=--release dir=release
  if [ -n "${LAZARETTE_PROGRAMS:-}" ]; then
    programs=$(cd "$LAZARETTE_PROGRAMS" && pwd)
    return
  fi
  [ "$profile" != dev ] || { flag="" dir=debug; }
  say "Building (the first time takes some minutes)."
  shown "cargo build $flag --locked --workspace --bins"
  # shellcheck disable=SC2086
  (cd "$here/.." && cargo build -q $flag --locked --workspace --bins)
  programs=${CARGO_TARGET_DIR:-$here/../target}
  programs=$(cd "$programs/$dir" && pwd)
}

# The shop's images, built here without an image registry; once.
load_images() {
  local built image missing=""
  for image in $images; do
    docker image inspect "$image" >/dev/null 2>&1 || missing=yes
  done
  [ -n "$missing" ] || return 0
  [ -d "$cache/images" ] || touch "$notes/made-cache"
  say "Making the container images of the stack (the first time takes some minutes)."
  built=$("$here/../tests/images/build.sh")
  for image in $images; do
    docker image inspect "$image" >/dev/null 2>&1 || echo "$image" >>"$notes/images"
  done
  docker load -q -i "$built/shop.tar" >/dev/null
}

# What an earlier demo left: its programs, its stack, its files. Nothing else has these names, or we stop here.
clear_last_demo() {
  local label="label=com.docker.compose.project=$stack"
  stop_part agent
  stop_part controller
  if [ ! -e "$notes/stack-$stack" ]; then
    if [ -n "$(docker ps -aq --filter "$label")$(docker volume ls -q --filter "$label")" ] || docker inspect "$stack-db-1" >/dev/null 2>&1; then
      fail "there is a stack \`$stack\` already, which is not the demo's; LAZARETTE_DEMO_STACK=NAME names ours otherwise"
    fi
  fi
  remove_stacks
  rm -rf "$state/controller" "$state/agent" "$state/lost" "$state/log" "$state/before" "$state/recovery-passphrase"
  mkdir -p "$state/log"
  touch "$notes/stack-$stack"
  say "Making the stack \`$stack\` (PostgreSQL with two databases, and an application that writes all the time)."
  shop up
}

remove_stacks() {
  local mark
  for mark in "$notes"/stack-*; do
    [ -e "$mark" ] || continue
    (stack=${mark##*/stack-} && shop down)
    rm -f "$mark"
  done
}

clean_up() {
  local image
  stop_part agent
  stop_part controller
  if docker version >/dev/null 2>&1; then
    remove_stacks
    while read -r image; do docker image rm -f "$image" >/dev/null 2>&1 || true; done < <(cat "$notes/images" 2>/dev/null)
  fi
  [ ! -e "$notes/made-cache" ] || rm -rf "$cache/images" "$cache/base" "$cache/stacks"
  "$here/docker-engine.sh" release
  rm -rf "$state"
  say "Removed. Left on purpose: compiled programs in the target directory, and packages that were installed."
  # An agent of one's own may use these too, so they are not ours to remove.
  say "Left as well, where the demo's agent made it: /etc/lazarette/agent-policy.toml, /var/lib/lazarette-agent/caches."
}

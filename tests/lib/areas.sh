# Areas: what each area of tests/run does, and what would make it be skipped. Sourced, not run.
# missing_AREA prints why an area cannot run here, or nothing; run_AREA runs it, with its output as its log.

missing_fmt() { :; }
run_fmt() { cargo fmt --all --check; }

missing_clippy() { :; }
run_clippy() {
  deploy/packages.sh build
  cargo clippy --locked --workspace --all-targets -- -D warnings
}

missing_docs() { :; }
run_docs() {
  deploy/packages.sh build
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
}

missing_deny() { command -v cargo-deny >/dev/null || echo "cargo-deny is not installed (cargo install cargo-deny)"; }
run_deny() {
  cargo deny --locked check bans licenses sources
  # The advisories are another repository, which is not fetched here: `cargo deny fetch db` does that.
  if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]; then cargo deny --locked check advisories --disable-fetch; fi
}

# All programs and tests, in one go and always with the whole workspace: with another selection of packages cargo
# would choose other features, and compile every crate a second time.
compile() {
  deploy/packages.sh tests build
  cargo build --locked --workspace --bins --tests
}

# The integration tests of a crate, but for those with an area of their own.
crate_tests() {
  cargo metadata --locked --no-deps --format-version 1 | jq -r '.packages[] | select(.name != "lazarette-tests") | .targets[]
    | select((.kind | index("test")) and .name != "power_cut") | "--test", .name' | paste -sd' '
}

missing_unit() { :; }
run_unit() {
  compile
  # shellcheck disable=SC2046
  cargo test --locked --workspace --lib --bins $(crate_tests) --no-fail-fast
  cargo test --locked --workspace --doc
}

missing_powercut() { [ -e controller/tests/power_cut.rs ] || [ -d controller/tests/power_cut ] || echo "controller/tests/power_cut is not there"; }
run_powercut() {
  compile
  cargo test --locked --workspace --test power_cut
}

missing_layers() { :; }
run_layers() {
  compile
  cargo test --locked --workspace --test layers --no-fail-fast
}

missing_it() { [ "$(id -u)" = 0 ] || echo "needs root, to make hosts of namespaces"; }
run_it() {
  compile
  tests/stacks/template.sh
  cargo test --locked --workspace --test integration --no-fail-fast
}

missing_demo() {
  [ -n "${LAZARETTE_DEMO:-}" ] || { echo "a slow area of its own: LAZARETTE_DEMO=1 tests/run demo" && return; }
  [ -x deploy/demo ] || { echo "deploy/demo is not there" && return; }
  [ "$(id -u)" = 0 ] || echo "needs root, to install and start Docker Engine"
}
run_demo() {
  deploy/packages.sh tests build
  # It must clean up after itself also when it failed.
  trap 'deploy/demo --clean' EXIT
  deploy/demo
}

//! Places: where the programs under test, the scripts and the images are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::outcome::Outcome;

/// The root of the checkout.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// A program of this workspace: in the directory that `LAZARETTE_PROGRAMS` names, or else where cargo built it, beside
/// the test that asks.
///
/// # Errors
///
/// When it was not built: a test does not build what it tests.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running test")?;
    let named = std::env::var_os("LAZARETTE_PROGRAMS").map(PathBuf::from);
    let beside = own.ancestors().skip(1).take(2).map(Path::to_owned);
    let mut places = named.into_iter().chain(beside).map(|dir| dir.join(name));
    let found = places.find(|at| at.is_file());
    found.with_context(|| {
        format!("no `{name}` beside {}: run `cargo build --workspace --bins`", own.display())
    })
}

/// The directory of the container images, which are built when they are not in the cache.
///
/// # Errors
///
/// When they cannot be built; the source is what the script said.
pub fn images() -> Result<PathBuf> {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    once(&IMAGES, || printed_path("tests/images/build.sh"))
}

/// The directory of a host that has the stack `shop` already, asleep.
pub(crate) fn shop_template() -> Result<PathBuf> {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    once(&TEMPLATE, || printed_path("tests/stacks/template.sh"))
}

fn once(cell: &OnceLock<PathBuf>, make: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = cell.get() {
        return Ok(path.clone());
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made).clone())
}

fn printed_path(script: &str) -> Result<PathBuf> {
    let said = Outcome::of(&mut Command::new(workspace().join(script)))?.ok()?;
    let path = PathBuf::from(said.stdout.trim());
    ensure!(path.is_dir(), "`{script}` printed `{}`, which is no directory", path.display());
    Ok(path)
}

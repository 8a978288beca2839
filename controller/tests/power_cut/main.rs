//! What the store keeps when its process, its disk or its power goes away.
//!
//! `LAZARETTE_POWERCUT=N` sets how many power cuts are simulated; 100 without it.

mod bit_flips;
mod cut;
mod disk_full;
mod killed;
mod mounts;
mod workload;

use std::io::Write;
use std::path::Path;

use lazarette_controller::store::{DiskStore, OpenError, Options};

/// Opens a store that uses all of a small disk.
fn open(directory: &Path) -> Result<DiskStore, OpenError> {
    DiskStore::open(directory, &small())
}

fn small() -> Options {
    Options { cache_bytes: 8 << 20, reserve_bytes: 0, floor_bytes: 0 }
}

/// Says loudly, past the test harness that keeps quiet about what passed, what was not tested.
fn skipped(test: &str, reason: &dyn std::fmt::Display) -> anyhow::Result<()> {
    say(&format!("SKIPPED {test}: {reason:#}"))
}

/// One line past the test harness.
fn say(line: &str) -> anyhow::Result<()> {
    std::io::stderr().write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

//! Power cuts: the disk as it is at some moment, and nothing that was only in memory.
//!
//! The store lies on ext4 in an image file on xfs. A reflink copy of the image is taken at once
//! while the store is written; the copy has what was handed to the disk until then. It is mounted
//! (ext4 replays its journal) and the store in it is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::mounts::{self, Mount};
use super::workload::{self, Process, Steps};

const TEST: &str = "power_cut";
/// Cuts of one disk before a new one is made: the first moments of a store are the worst.
const CUTS_PER_DISK: usize = 5;
const DISK_BYTES: u64 = 512 << 20;

#[test]
fn everything_that_was_acknowledged_survives_power_cuts() -> anyhow::Result<()> {
    if let Some(reason) = mounts::missing(&["mkfs.xfs", "mkfs.ext4", "cp", "mount"]) {
        return super::skipped(TEST, &reason);
    }
    let cuts = match std::env::var("LAZARETTE_POWERCUT") {
        Ok(text) => text.parse().context("LAZARETTE_POWERCUT is not a number")?,
        Err(_) => 100,
    };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = match Bench::new(scratch.path()) {
        Ok(bench) => bench,
        Err(error) => return super::skipped(TEST, &format!("{error:#}")),
    };
    let mut chance = fastrand::Rng::with_seed(0x1a2a);
    let mut acknowledged = 0;

    let mut left = cuts;
    while left > 0 {
        let disk = bench.disk()?;
        let process = Process::start(&disk.path().join("state"))?;
        for _ in 0..CUTS_PER_DISK.min(left) {
            // Not a wait for anything: the power goes when it goes.
            std::thread::sleep(Duration::from_micros(chance.u64(0..250_000)));
            let steps = process.acknowledged();
            bench.cut()?;
            bench.check(steps).with_context(|| format!("power cut {}", cuts - left + 1))?;
            left -= 1;
        }
        acknowledged += process.kill()?.iter().sum::<u64>();
        disk.unmount()?;
    }

    assert!(acknowledged > u64::try_from(cuts)?, "the writers hardly wrote: {acknowledged}");
    super::say(&format!("{cuts} power cuts during {acknowledged} batches, none lost"))
}

/// An xfs that can copy images at once.
struct Bench {
    xfs: Mount,
    scratch: PathBuf,
}

impl Bench {
    fn new(scratch: &Path) -> anyhow::Result<Self> {
        let image = scratch.join("bench.img");
        mounts::make_image(&image, 4 << 30, &["mkfs.xfs", "-q", "-m", "reflink=1"])?;
        let xfs = Mount::image(&image, scratch.join("bench"))?;
        let blank = xfs.path().join("blank.img");
        mounts::make_image(&blank, DISK_BYTES, &["mkfs.ext4", "-q"])?;
        Ok(Self { xfs, scratch: scratch.to_owned() })
    }

    /// A new disk, formatted and empty.
    fn disk(&self) -> anyhow::Result<Mount> {
        self.copy("blank.img", "disk.img")?;
        Mount::image(&self.xfs.path().join("disk.img"), self.scratch.join("disk"))
    }

    /// Takes the disk as it is now.
    fn cut(&self) -> anyhow::Result<()> {
        self.copy("disk.img", "cut.img")
    }

    /// Looks whether the disk that was taken has all these steps, and works.
    fn check(&self, steps: Steps) -> anyhow::Result<()> {
        let mount = Mount::image(&self.xfs.path().join("cut.img"), self.scratch.join("cut"))?;
        let directory = mount.path().join("state");
        let runtime = workload::runtime()?;
        let store = super::open(&directory)?;
        let there = runtime.block_on(workload::verify(&store, steps))?;
        let mut batch = lazarette_controller::store::Batch::new();
        batch.insert("after the cut", "written");
        runtime.block_on(lazarette_controller::store::Store::commit(&store, batch))?;
        drop(store);
        let store = super::open(&directory)?;
        runtime.block_on(workload::verify(&store, there))?;
        drop(store);
        mount.unmount()
    }

    fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let (from, to) = (self.xfs.path().join(from), self.xfs.path().join(to));
        mounts::run("cp", &["--reflink=always", mounts::text(&from)?, mounts::text(&to)?])
    }
}

//! Bits that flip while nobody looks.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::ensure;
use lazarette_controller::store::{Batch, Scan, Store};

use super::workload;

/// More than two segments of the database hold.
const RECORDS: u64 = 10_000;
const VALUE_BYTES: usize = 2000;
/// One flip in each so many bytes of the database.
const REGION_BYTES: u64 = 256 * 1024;

#[test]
fn a_flipped_bit_is_found_or_does_no_harm() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let whole = scratch.path().join("whole");
    let runtime = workload::runtime()?;
    runtime.block_on(write(&whole))?;
    let bytes = fs::metadata(whole.join("sled/db"))?.len();
    let mut chance = fastrand::Rng::with_seed(5);
    let (mut flips, mut found) = (0, 0);

    for region in 0..bytes.div_ceil(REGION_BYTES) {
        let offset = (region * REGION_BYTES + chance.u64(0..REGION_BYTES)).min(bytes - 1);
        flips += 1;
        let damaged = scratch.path().join("damaged");
        copy(&whole, &damaged)?;
        flip(&damaged.join("sled/db"), offset, chance.u8(0..8))?;
        match super::open(&damaged) {
            Err(error) => {
                let message = error.to_string();
                ensure!(message.contains("catalog rebuild"), "no way out: {message}");
                found += 1;
            }
            Ok(store) => runtime.block_on(check(&store))?,
        }
        fs::remove_dir_all(&damaged)?;
    }

    ensure!(found > 0, "no flip of a bit was ever found");
    super::say(&format!("{found} of {flips} flipped bits were found, the others did no harm"))?;
    Ok(())
}

#[test]
fn a_store_that_lost_a_file_is_not_taken_for_a_new_one() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let whole = scratch.path().join("whole");
    workload::runtime()?.block_on(write(&whole))?;

    for lost in ["sled/db", "sled", "store.mark"] {
        let damaged = scratch.path().join("damaged");
        copy(&whole, &damaged)?;
        let path = damaged.join(lost);
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }

        let message = super::open(&damaged).map(drop).expect_err(lost).to_string();

        ensure!(message.contains("catalog rebuild"), "{lost}: {message}");
        fs::remove_dir_all(&damaged)?;
    }
    Ok(())
}

#[test]
fn a_store_whose_database_was_emptied_is_not_taken_for_a_new_one() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    workload::runtime()?.block_on(write(scratch.path()))?;
    for entry in fs::read_dir(scratch.path().join("sled"))? {
        let path = entry?.path();
        if path.is_file() {
            File::create(path)?; // as after a power cut that took what was not synced
        }
    }

    let message = super::open(scratch.path()).map(drop).expect_err("emptied").to_string();

    ensure!(message.contains("catalog rebuild"), "{message}");
    Ok(())
}

#[test]
fn an_older_database_under_a_newer_mark_is_refused() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let (now, before) = (scratch.path().join("now"), scratch.path().join("before"));
    let runtime = workload::runtime()?;
    runtime.block_on(write(&now))?;
    copy(&now, &before)?;
    let store = super::open(&now)?;
    let mut batch = Batch::new();
    batch.put("a token", "burnt");
    runtime.block_on(store.commit(batch))?;
    drop(store);

    fs::remove_dir_all(now.join("sled"))?;
    copy(&before.join("sled"), &now.join("sled"))?;

    let message = super::open(&now).map(drop).expect_err("older").to_string();
    ensure!(message.contains("was acknowledged"), "{message}");
    Ok(())
}

async fn write(directory: &Path) -> anyhow::Result<()> {
    let store = super::open(directory)?;
    for first in (0..RECORDS).step_by(100) {
        let mut batch = Batch::new();
        for record in first..first + 100 {
            batch.put(record.to_string(), value(record));
        }
        store.commit(batch).await?;
    }
    Ok(())
}

async fn check(store: &impl Store) -> anyhow::Result<()> {
    let (mut scan, mut records) = (Scan::prefix(""), 0);
    loop {
        let page = store.scan(scan).await?;
        for entry in &page.entries {
            let record = std::str::from_utf8(&entry.key)?.parse()?;
            ensure!(entry.value == value(record), "record {record} is wrong");
            records += 1;
        }
        if !page.more {
            break;
        }
        scan =
            Scan { after: page.entries.last().map(|entry| entry.key.clone()), ..Scan::prefix("") };
    }
    ensure!(records == RECORDS, "{records} records of {RECORDS} are there");
    Ok(())
}

fn value(record: u64) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    fastrand::Rng::with_seed(record).fill(&mut value);
    value
}

fn flip(file: &Path, offset: u64, bit: u8) -> anyhow::Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, offset)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    super::mounts::run(
        "cp",
        &["-r", "--sparse=always", super::mounts::text(from)?, super::mounts::text(to)?],
    )
}

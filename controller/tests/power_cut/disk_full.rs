//! A disk that is full.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use lazarette_controller::store::{
    Batch, DiskStore, Options, Reserve, Store, StoreError, StoreState,
};

use super::mounts::{self, Mount};
use super::workload::{self, Steps};

const MIB: u64 = 1 << 20;

/// Something else that fills the disk.
fn fill(path: &Path, leave_bytes: u64) -> anyhow::Result<()> {
    let disk = rustix::fs::statvfs(path)?;
    let bytes = (disk.f_bavail * disk.f_frsize).saturating_sub(leave_bytes);
    let file = std::fs::File::create(path.join("something else"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    Ok(())
}

fn make_room(path: &Path) -> std::io::Result<()> {
    std::fs::remove_file(path.join("something else"))
}

/// Writes until it fails; gives what was acknowledged, and the failure.
async fn write_until_failure(store: &DiskStore) -> anyhow::Result<(Steps, StoreError)> {
    let steps = Mutex::new(Steps::default());
    let ended = workload::write_all(store, |writer, step| {
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = steps.get_mut(writer) {
            *last = step;
        }
        Ok(())
    });
    let error = ended.await.downcast::<StoreError>().context("another error")?;
    Ok((steps.into_inner()?, error))
}

fn full_disks() -> anyhow::Result<Option<(tempfile::TempDir, Vec<Mount>)>> {
    let test = "disk_full";
    if let Some(reason) = mounts::missing(&["mkfs.ext4", "mount"]) {
        super::skipped(test, &reason)?;
        return Ok(None);
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let at = |name: &str| scratch.path().join(name);
    let image = at("ext4.img");
    mounts::make_image(&image, 128 * MIB, &["mkfs.ext4", "-q"])?;
    let tmpfs = Mount::new(&["-t", "tmpfs", "-o", "size=128m", "none"], at("tmpfs"));
    let mounted = tmpfs.and_then(|tmpfs| Ok(vec![tmpfs, Mount::image(&image, at("ext4"))?]));
    match mounted {
        Ok(mounts) => Ok(Some((scratch, mounts))),
        Err(error) => {
            super::skipped(test, &format!("{error:#}"))?;
            Ok(None)
        }
    }
}

#[test]
fn a_store_without_a_floor_fails_for_good_on_a_full_disk_and_loses_nothing() -> anyhow::Result<()> {
    let Some((_scratch, disks)) = full_disks()? else { return Ok(()) };
    let runtime = workload::runtime()?;
    for disk in disks {
        let directory = disk.path().join("state");
        let store = super::open(&directory)?;
        let mut state = store.state();
        fill(disk.path(), 20 * MIB)?;

        let (steps, error) = runtime.block_on(write_until_failure(&store))?;
        make_room(disk.path())?;
        let later = runtime.block_on(store.get(b"count/0"));

        ensure!(matches!(error, StoreError::Failed(_)), "{error:?}");
        ensure!(matches!(later, Err(StoreError::Failed(_))), "{later:?}");
        ensure!(*state.borrow_and_update() == StoreState::Failed, "nobody was told");
        drop(store);
        let store = super::open(&directory)?;
        runtime.block_on(workload::verify(&store, steps))?;
        drop(store);
        disk.unmount()?;
    }
    Ok(())
}

#[test]
fn a_store_with_a_floor_refuses_first_and_goes_on_when_there_is_room() -> anyhow::Result<()> {
    let Some((_scratch, disks)) = full_disks()? else { return Ok(()) };
    let runtime = workload::runtime()?;
    let options = Options { reserve_bytes: 8 * MIB, floor_bytes: 16 * MIB, ..super::small() };
    for disk in disks {
        let store = DiskStore::open(&disk.path().join("state"), &options)?;
        ensure!(store.space()?.reserve == Reserve::Held, "no reserve: {:?}", store.space()?);
        fill(disk.path(), 24 * MIB)?;

        let (steps, error) = runtime.block_on(write_until_failure(&store))?;
        let refused_again = runtime.block_on(store.commit(one()));
        let space = store.space()?;
        runtime.block_on(workload::verify(&store, steps))?;
        make_room(disk.path())?;
        runtime.block_on(store.commit(one()))?;

        ensure!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        ensure!(matches!(refused_again, Err(StoreError::DiskFull { .. })), "{refused_again:?}");
        ensure!(space.reserve == Reserve::Gone && space.is_low(), "{space:?}");
        ensure!(store.space()?.reserve == Reserve::Held, "the reserve did not come back");
        ensure!(*store.state().borrow() == StoreState::Ready, "it failed");
        drop(store);
        disk.unmount()?;
    }
    Ok(())
}

fn one() -> Batch {
    let mut batch = Batch::new();
    batch.put("one", "more");
    batch
}

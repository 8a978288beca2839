//! Disks: the room where the controller keeps what must survive, watched.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lazarette_core::{
    error::{Failure, Reason},
    units::ByteCount,
};
use tokio_util::sync::CancellationToken;

use crate::{
    places::store_failed,
    store::{Reserve, Space, Store},
};

/// How often they are looked at, for the log.
const PERIOD: Duration = Duration::from_mins(1);

/// The room on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What is on it: `store`, `repositories`.
    pub holds: &'static str,
    /// The directory of that.
    pub path: PathBuf,
    /// How much is left.
    pub space: Space,
}

impl Disk {
    /// What an operator must do; nothing while there is room.
    pub fn warning(&self) -> Option<String> {
        if !self.space.is_low() {
            return None;
        }
        let Self { holds, path, space } = self;
        let free = ByteCount(space.free_bytes);
        let given_up = match space.reserve {
            Reserve::Gone => ", and the reserve for bad days is not there",
            Reserve::None | Reserve::Held => "",
        };
        Some(format!(
            "the disk of the {holds} has {free} left of {}{given_up}: make room around `{}`; until \
             then no backup is begun",
            ByteCount(space.total_bytes),
            path.display()
        ))
    }
}

/// The controller's disks. Clones are the same.
#[derive(Clone, Debug)]
pub struct Disks {
    store: Arc<dyn Store>,
    store_dir: PathBuf,
    repositories_dir: PathBuf,
}

impl Disks {
    /// Those with the store in `store_dir` and the repositories in `repositories_dir`.
    pub fn new(store: Arc<dyn Store>, store_dir: PathBuf, repositories_dir: PathBuf) -> Self {
        Self { store, store_dir, repositories_dir }
    }

    /// How they are now.
    ///
    /// # Errors
    ///
    /// A file system does not answer.
    pub fn look(&self) -> Result<Vec<Disk>, Failure> {
        let store = self.store.space().map_err(store_failed)?;
        let repositories = Space::of(&self.repositories_dir).map_err(|error| {
            let path = self.repositories_dir.display();
            let message = format!("ask for the free space of `{path}`: {error}");
            Failure::new(Reason::StorageUnavailable, message)
        })?;
        Ok(vec![
            Disk { holds: "store", path: self.store_dir.clone(), space: store },
            Disk {
                holds: "repositories",
                path: self.repositories_dir.clone(),
                space: repositories,
            },
        ])
    }

    /// What an operator must do now; also when a disk cannot be asked.
    pub fn warnings(&self) -> Vec<String> {
        match self.look() {
            Ok(disks) => disks.iter().filter_map(Disk::warning).collect(),
            Err(failure) => vec![failure.message],
        }
    }

    /// Whether a backup may begin. A restore may always: it writes next to nothing here.
    ///
    /// # Errors
    ///
    /// `DISK_FULL`, with the disk and what is left.
    pub fn admit_backup(&self) -> Result<(), Failure> {
        match self.look()?.iter().find_map(Disk::warning) {
            None => Ok(()),
            Some(warning) => Err(Failure::new(Reason::DiskFull, warning)),
        }
    }

    /// Says in the log when a disk becomes full, and when it has room again.
    pub async fn watch(self, cancel: CancellationToken) {
        let mut known: Vec<&'static str> = Vec::new();
        loop {
            match self.look() {
                Ok(disks) => known = tell(&disks, &known),
                Err(failure) => tracing::warn!(reason = %failure.reason, "{}", failure.message),
            }
            if cancel.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none() {
                return;
            }
        }
    }
}

/// Tells what has changed since `known` were low, and which are now.
fn tell(disks: &[Disk], known: &[&'static str]) -> Vec<&'static str> {
    let mut low = Vec::new();
    for disk in disks {
        let was_low = known.contains(&disk.holds);
        match disk.warning() {
            Some(warning) => {
                low.push(disk.holds);
                if !was_low {
                    tracing::warn!("{warning}");
                }
            }
            None if was_low => {
                let free = ByteCount(disk.space.free_bytes);
                tracing::info!(holds = disk.holds, %free, "a disk has room again");
            }
            None => {}
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk(free_bytes: u64, reserve: Reserve) -> Disk {
        let space = Space { free_bytes, total_bytes: 2000 * MIB, reserve };
        Disk { holds: "store", path: "/var/lib/x".into(), space }
    }

    #[test]
    fn a_disk_with_little_room_is_named_with_what_is_left_and_the_way_out() {
        assert_eq!(disk(1000 * MIB, Reserve::Held).warning(), None);
        let warning = disk(99 * MIB, Reserve::Held).warning().unwrap();
        assert!(warning.starts_with("the disk of the store has 99.0 MiB left of 1.9 GiB: make"));
        assert!(warning.contains("`/var/lib/x`"), "{warning}");
        let gone = disk(1000 * MIB, Reserve::Gone).warning().unwrap();
        assert!(gone.contains("the reserve for bad days is not there"), "{gone}");
    }

    #[test]
    fn a_low_disk_is_known_until_it_has_room_again() {
        let low = tell(&[disk(MIB, Reserve::Held)], &[]);
        assert_eq!(low, ["store"]);
        assert_eq!(tell(&[disk(MIB, Reserve::Held)], &low), ["store"]);
        assert!(tell(&[disk(1000 * MIB, Reserve::Held)], &low).is_empty());
    }
}

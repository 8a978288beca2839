//! Space: how much room is left where the store lives, and the reserve that is kept for bad days.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, Mode, OFlags};

const MIB: u64 = 1024 * 1024;
/// Below this, or below this part of the disk if that is less, no new backup may start.
const LOW_BYTES: u64 = 512 * MIB;
const LOW_PERCENT: u64 = 5;

/// The room on the store's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What the store can still write.
    pub free_bytes: u64,
    /// The size of the disk.
    pub total_bytes: u64,
    /// The file that is given up when nothing else is left.
    pub reserve: Reserve,
}

/// The state of the reserve file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// There is none, by configuration.
    None,
    /// It is there.
    Held,
    /// It was given up, or there was no room for it.
    Gone,
}

impl Space {
    /// That of the disk on which `directory` is.
    ///
    /// # Errors
    ///
    /// The file system does not answer.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(directory)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let total_bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
        Ok(Self { free_bytes, total_bytes, reserve: Reserve::None })
    }

    /// Whether so little is left that no new backup may start: less than 512 MiB or 5 %, whichever
    /// is less, or the reserve is gone.
    pub fn is_low(&self) -> bool {
        let low = LOW_BYTES.min(self.total_bytes / 100 * LOW_PERCENT);
        self.free_bytes < low || self.reserve == Reserve::Gone
    }
}

/// What to do before the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Write,
    MakeReserve,
    GiveUpReserve,
    Refuse,
}

/// Decides from what is free whether the store may write.
fn measure(free: u64, floor: u64, reserve: u64, state: Reserve) -> Measure {
    match state {
        Reserve::Held if free < floor => Measure::GiveUpReserve,
        Reserve::None | Reserve::Gone if free < floor => Measure::Refuse,
        Reserve::Gone if free / 2 >= floor.saturating_add(reserve) => Measure::MakeReserve,
        Reserve::None | Reserve::Held | Reserve::Gone => Measure::Write,
    }
}

/// The watch over the room on the store's disk.
#[derive(Debug)]
pub(super) struct Room {
    directory: PathBuf,
    floor_bytes: u64,
    reserve_bytes: u64,
    is_held: AtomicBool,
}

/// Too little is left to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    pub(super) free_bytes: u64,
    pub(super) floor_bytes: u64,
}

impl Room {
    /// Looks for the reserve in `directory`; makes or gives up nothing yet.
    pub(super) fn new(directory: &Path, floor_bytes: u64, reserve_bytes: u64) -> Self {
        let is_held = fs::metadata(directory.join("reserve"))
            .is_ok_and(|reserve| reserve_bytes > 0 && reserve.len() >= reserve_bytes);
        let is_held = AtomicBool::new(is_held);
        Self { directory: directory.to_owned(), floor_bytes, reserve_bytes, is_held }
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        Ok(Space { reserve: self.reserve(), ..Space::of(&self.directory)? })
    }

    /// Keeps or gives up the reserve, and says whether the store may write.
    pub(super) fn admit(&self) -> io::Result<Result<(), Full>> {
        let mut space = self.space()?;
        loop {
            match measure(space.free_bytes, self.floor_bytes, self.reserve_bytes, space.reserve) {
                Measure::Write => return Ok(Ok(())),
                Measure::Refuse => {
                    let free_bytes = space.free_bytes;
                    return Ok(Err(Full { free_bytes, floor_bytes: self.floor_bytes }));
                }
                Measure::MakeReserve => {
                    self.make_reserve();
                    return Ok(Ok(()));
                }
                Measure::GiveUpReserve => {
                    self.give_up_reserve()?;
                    space = self.space()?;
                }
            }
        }
    }

    fn reserve(&self) -> Reserve {
        match (self.reserve_bytes, self.is_held.load(Ordering::Relaxed)) {
            (0, _) => Reserve::None,
            (_, true) => Reserve::Held,
            (_, false) => Reserve::Gone,
        }
    }

    /// A reserve that cannot be made is no reason not to write: `Space` says that it is missing.
    fn make_reserve(&self) {
        let path = self.directory.join("reserve");
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let made = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).and_then(|file| {
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.reserve_bytes)
        });
        match made {
            Ok(()) => self.is_held.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no room was set aside");
                if let Err(error) = fs::remove_file(&path) {
                    tracing::debug!(%error, "a half made reserve stays");
                }
            }
        }
    }

    fn give_up_reserve(&self) -> io::Result<()> {
        tracing::error!(
            directory = %self.directory.display(),
            "the disk of the store is nearly full: its reserve is used now, make room"
        );
        match fs::remove_file(self.directory.join("reserve")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => self.is_held.store(false, Ordering::Relaxed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_given_up_before_a_write_is_refused_and_made_again_with_room_to_spare() {
        let cases = [
            (100, Reserve::Held, Measure::Write),
            (9, Reserve::Held, Measure::GiveUpReserve),
            (9, Reserve::Gone, Measure::Refuse),
            (9, Reserve::None, Measure::Refuse),
            (10, Reserve::Gone, Measure::Write),
            (59, Reserve::Gone, Measure::Write),
            (60, Reserve::Gone, Measure::MakeReserve),
            (u64::MAX, Reserve::None, Measure::Write),
        ];

        for (free, state, expected) in cases {
            assert_eq!(measure(free, 10, 20, state), expected, "{free} free, reserve {state:?}");
        }
    }

    #[test]
    fn space_is_low_below_the_smaller_watermark_or_without_the_reserve() {
        let space = |free, total, reserve| Space {
            free_bytes: free * MIB,
            total_bytes: total * MIB,
            reserve,
        };

        assert!(space(511, 1_000_000, Reserve::Held).is_low());
        assert!(!space(513, 1_000_000, Reserve::Held).is_low());
        assert!(space(49, 1000, Reserve::Held).is_low());
        assert!(!space(51, 1000, Reserve::None).is_low());
        assert!(space(900_000, 1_000_000, Reserve::Gone).is_low());
    }

    #[test]
    fn a_reserve_is_on_the_disk_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path(), 0, MIB);

        room.admit().unwrap().unwrap();

        assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), MIB);
        let again = Room::new(dir.path(), 0, MIB);
        assert_eq!(again.space().unwrap().reserve, Reserve::Held);
        again.give_up_reserve().unwrap();
        assert_eq!(again.space().unwrap().reserve, Reserve::Gone);
    }
}

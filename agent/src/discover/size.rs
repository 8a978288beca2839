//! Size: how much a directory holds, counted within bounds.

use std::{
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use lazarette_core::units::ByteCount;

/// Entries that are looked at for one stack, at most.
const ENTRIES: u32 = 200_000;

/// Time that is spent on one stack, at most.
const TIME: Duration = Duration::from_secs(2);

/// What is left to spend on sizes.
#[derive(Debug)]
pub(super) struct Budget {
    entries: u32,
    until: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        Self { entries: ENTRIES, until: Instant::now() + TIME }
    }
}

impl Budget {
    /// What `path` takes on disk; none when that is not known within the budget. Links are not
    /// followed, other file systems not entered.
    pub(super) fn size_of(&mut self, path: &Path) -> Option<ByteCount> {
        let about = std::fs::symlink_metadata(path).ok()?;
        let device = about.dev();
        let mut bytes = about.blocks() * 512;
        let mut left = if about.is_dir() { vec![path.to_owned()] } else { Vec::new() };
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).ok()? {
                self.entries = self.entries.checked_sub(1)?;
                if Instant::now() > self.until {
                    return None;
                }
                let entry = entry.ok()?;
                let about = entry.metadata().ok()?;
                if about.dev() != device {
                    continue;
                }
                bytes = bytes.saturating_add(about.blocks() * 512);
                if about.is_dir() {
                    left.push(entry.path());
                }
            }
        }
        Some(ByteCount(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_counts_what_is_below_and_ends_with_its_budget() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        std::fs::write(directory.path().join("a/b"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("root")).unwrap();

        let size = Budget::default().size_of(directory.path()).unwrap();
        assert!(size >= ByteCount(100_000) && size < ByteCount(200_000), "{size}");

        let mut poor = Budget { entries: 1, ..Budget::default() };
        assert_eq!(poor.size_of(directory.path()), None);
        assert_eq!(Budget::default().size_of(Path::new("/no/such")), None);
    }
}

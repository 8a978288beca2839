//! Space: whether a tree fits on the file system it is to be restored to.

use std::path::PathBuf;

use lazarette_core::units::ByteCount;

use super::{Extent, root::Root};

/// There is not enough room.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "restore to `{path}`: its file system is too full by {missing}; the previous generation stays \
     until the restore is accepted, so both must fit"
)]
pub struct FullError {
    /// Where.
    path: PathBuf,
    /// How much is missing, as "3.2 GiB" or "700 inodes".
    missing: String,
}

/// What a file system has left for root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    bytes: u64,
    /// None where there is no limit.
    inodes: Option<u64>,
}

/// Refuses when what is at `root` has no room for a tree of `extent`, with 5 % to spare.
///
/// # Errors
///
/// [`FullError`], which says how much is missing. A file system that does not say how much it has
/// left is taken to have enough: then the restore finds out.
pub fn check(root: &Root, extent: Extent) -> Result<(), FullError> {
    let Ok(stat) = rustix::fs::fstatvfs(root.dir()) else { return Ok(()) };
    let left = Left {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_ffree),
    };
    match missing(extent, left) {
        None => Ok(()),
        Some(missing) => Err(FullError { path: root.path().to_path_buf(), missing }),
    }
}

fn missing(extent: Extent, left: Left) -> Option<String> {
    // A small file takes no room on some file systems, and a block on others.
    let ByteCount(allocated) = extent.allocated;
    let wanted = allocated.saturating_add(allocated / 20);
    if wanted > left.bytes {
        return Some(ByteCount(wanted - left.bytes).to_string());
    }
    let inodes = extent.entries.saturating_add(16);
    match left.inodes {
        Some(left) if inodes > left => Some(format!("{} inodes", inodes - left)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_how_much_is_missing() {
        let extent = |mib: u64, entries| Extent {
            entries,
            bytes: ByteCount(1 << 40), // holes take no room
            allocated: ByteCount(mib << 20),
        };
        let left = Left { bytes: 100 << 20, inodes: Some(100) };

        assert_eq!(missing(extent(95, 84), left), None);
        assert_eq!(missing(extent(100, 84), left), Some("5.0 MiB".to_owned()));
        assert_eq!(missing(extent(1, 90), left), Some("6 inodes".to_owned()));
        assert_eq!(missing(extent(1, 9000), Left { inodes: None, ..left }), None);
    }
}

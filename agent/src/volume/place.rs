//! Placing: entries made on disk from the nodes of a tree, with all their metadata.
//!
//! Every call takes an open directory and one component, opens nothing through a link and nothing
//! that exists: what a snapshot says can only become something new within that directory.

use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use lazarette_repo::tree::{Node, NodeKind, mode};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{
    attributes::{Holder, NotWritten},
    inode::open_resolving,
};

/// Runs of zeros of at least this length, at multiples of it, become holes.
const HOLE_SIZE: usize = 32 << 10;

/// Why an entry could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// A system call failed.
    #[error("{doing}")]
    Call {
        /// Verb and object.
        doing: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// An attribute could not be written.
    #[error("keep its attributes")]
    Attribute(#[from] NotWritten),
}

impl PlaceError {
    fn call(doing: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Call { doing, errno }
    }

    /// Whether there is no room left.
    pub(crate) fn is_full(&self) -> bool {
        let errno = match self {
            Self::Call { errno, .. } => *errno,
            Self::Attribute(error) => error.errno(),
        };
        matches!(errno, Errno::NOSPC | Errno::DQUOT)
    }
}

/// Makes the directory `name` in `dir`, for this process alone until it is finished, and opens it.
pub(crate) fn make_dir(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd, PlaceError> {
    rustix::fs::mkdirat(&dir, name, Mode::RWXU).map_err(PlaceError::call("make a directory"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    open_resolving(dir, name, flags, Mode::empty(), beneath())
        .map_err(PlaceError::call("open a directory that was just made"))
}

/// Makes the file `name` in `dir`, empty.
pub(crate) fn make_file(dir: impl AsFd, node: &Node) -> Result<OwnedFd, PlaceError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mode = Mode::from_raw_mode(mode::permissions(node.mode) & 0o777);
    open_resolving(dir, node.name.as_slice(), flags, mode, beneath())
        .map_err(PlaceError::call("make a file"))
}

fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

/// Writes `content` at `offset`, leaving holes where it has long runs of zeros, and says where what
/// was written ends.
pub(crate) fn write_content(
    file: impl AsFd,
    mut offset: u64,
    content: &[u8],
) -> Result<u64, PlaceError> {
    let mut rest = content;
    let mut end = 0;
    while !rest.is_empty() {
        let (length, is_hole) = next_run(offset, rest);
        let (run, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if !is_hole {
            write_all_at(&file, offset, run)?;
        }
        offset += u64::try_from(run.len()).unwrap_or(0);
        rest = after;
        if !is_hole {
            end = offset;
        }
    }
    Ok(end)
}

/// How long the run that `content` begins with is, and whether it is one of zeros.
fn next_run(offset: u64, content: &[u8]) -> (usize, bool) {
    let block = u64::try_from(HOLE_SIZE).unwrap_or(1);
    let to_boundary = usize::try_from(block - offset % block).unwrap_or(HOLE_SIZE);
    let mut length = 0;
    let mut next = to_boundary;
    let mut is_hole = None;
    while let Some(piece) = content.get(length..).filter(|it| !it.is_empty()) {
        let piece = piece.get(..next).unwrap_or(piece);
        let is_zero = piece.len() == HOLE_SIZE && is_zero(piece);
        if *is_hole.get_or_insert(is_zero) != is_zero {
            break;
        }
        length += piece.len();
        next = HOLE_SIZE;
    }
    (length, is_hole.unwrap_or(false))
}

fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

fn write_all_at(file: impl AsFd, mut offset: u64, mut rest: &[u8]) -> Result<(), PlaceError> {
    while !rest.is_empty() {
        let written = match rustix::io::pwrite(&file, rest, offset) {
            Err(Errno::INTR) => continue,
            Ok(0) => return Err(PlaceError::Call { doing: "write", errno: Errno::IO }),
            outcome => outcome.map_err(PlaceError::call("write"))?,
        };
        offset += u64::try_from(written).unwrap_or(0);
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Gives the new `file`, which was written up to `end`, its size, for what ends with a hole, and
/// all its metadata.
pub(crate) fn finish_file(file: &OwnedFd, node: &Node, end: u64) -> Result<(), PlaceError> {
    if end != node.size {
        rustix::fs::ftruncate(file, node.size).map_err(PlaceError::call("set its size"))?;
    }
    let permissions = mode::permissions(node.mode);
    let is_set = permissions <= 0o777; // by the call that made it
    finish(file, node, is_set)
}

/// Gives a directory all its metadata, after everything in it was made.
pub(crate) fn finish_dir(dir: &OwnedFd, node: &Node) -> Result<(), PlaceError> {
    finish(dir, node, false)
}

fn finish(file: &OwnedFd, node: &Node, is_mode_set: bool) -> Result<(), PlaceError> {
    if node.uid != 0 || node.gid != 0 || node.kind == NodeKind::Dir {
        let (uid, gid) = owner(node);
        rustix::fs::fchown(file, Some(uid), Some(gid))
            .map_err(PlaceError::call("set its owner"))?;
    }
    // After the owner, whose change takes set-user-id and capabilities away; before the ACL, whose
    // mask it would overwrite.
    if !is_mode_set {
        let mode = Mode::from_raw_mode(mode::permissions(node.mode));
        rustix::fs::fchmod(file, mode).map_err(PlaceError::call("set its permissions"))?;
    }
    Holder::Open(file.as_fd()).write(&node.xattrs)?;
    rustix::fs::futimens(file, &times(node)).map_err(PlaceError::call("set its time"))
}

/// Makes a link, pipe or device. `path` is its path from the root, for attributes.
pub(crate) fn make_special(dir: impl AsFd, path: &[u8], node: &Node) -> Result<(), PlaceError> {
    let name = node.name.as_slice();
    let mode = Mode::from_raw_mode(mode::permissions(node.mode));
    let device = |kind| {
        rustix::fs::mknodat(&dir, name, kind, mode, node.device)
            .map_err(PlaceError::call("make a device"))
    };
    match node.kind {
        NodeKind::Symlink => rustix::fs::symlinkat(node.link_target.as_slice(), &dir, name)
            .map_err(PlaceError::call("make a link"))?,
        NodeKind::Fifo => rustix::fs::mknodat(&dir, name, FileType::Fifo, mode, 0)
            .map_err(PlaceError::call("make a pipe"))?,
        NodeKind::Dev => device(FileType::BlockDevice)?,
        NodeKind::CharDev => device(FileType::CharacterDevice)?,
        NodeKind::File | NodeKind::Dir | NodeKind::Other => return Ok(()),
    }
    let (uid, gid) = owner(node);
    rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(PlaceError::call("set its owner"))?;
    if node.kind != NodeKind::Symlink {
        // Just made by us in a directory that nobody else can enter yet: it is no link.
        rustix::fs::chmodat(&dir, name, mode, AtFlags::empty())
            .map_err(PlaceError::call("set its permissions"))?;
    }
    Holder::Path(path).write(&node.xattrs)?;
    rustix::fs::utimensat(&dir, name, &times(node), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(PlaceError::call("set its time"))
}

fn owner(node: &Node) -> (Uid, Gid) {
    (Uid::from_raw(node.uid), Gid::from_raw(node.gid))
}

fn times(node: &Node) -> Timestamps {
    let time = to_timespec(node.mtime);
    Timestamps { last_access: time, last_modification: time }
}

/// Seconds downwards and nanoseconds forward, as the kernel wants times before 1970.
fn to_timespec(time: Timestamp) -> Timespec {
    let nanos = i64::from(time.subsec_nanosecond());
    let back = i64::from(nanos < 0);
    Timespec { tv_sec: time.as_second() - back, tv_nsec: nanos + back * 1_000_000_000 }
}

/// Gives `name` in `dir` a second name for the file at `first`, which is below `root`.
pub(crate) fn make_link(
    root: impl AsFd,
    first: &[u8],
    dir: impl AsFd,
    name: &[u8],
) -> Result<(), PlaceError> {
    rustix::fs::linkat(root, first, dir, name, AtFlags::empty())
        .map_err(PlaceError::call("make another name of a file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_zeros_become_holes_at_multiples_of_their_size_only() {
        let zeros = vec![0; 3 * HOLE_SIZE];
        assert_eq!(next_run(0, &zeros), (3 * HOLE_SIZE, true));
        assert_eq!(next_run(5, &zeros), (HOLE_SIZE - 5, false));
        assert_eq!(next_run(0, &zeros[..100]), (100, false));

        let mut mixed = zeros;
        mixed[HOLE_SIZE] = 1;
        assert_eq!(next_run(0, &mixed), (HOLE_SIZE, true));
        assert_eq!(next_run(0, &mixed[HOLE_SIZE..]), (HOLE_SIZE, false));
    }

    #[test]
    fn times_before_1970_count_nanoseconds_forward() {
        let time = to_timespec(Timestamp::new(-2, -500_000_000).unwrap());
        assert_eq!((time.tv_sec, time.tv_nsec), (-3, 500_000_000));
        let time = to_timespec(Timestamp::new(7, 5).unwrap());
        assert_eq!((time.tv_sec, time.tv_nsec), (7, 5));
    }
}

//! Inode: what a file system keeps about an entry of a directory, apart from its name and content.

use std::os::fd::AsFd;

use jiff::Timestamp;
use lazarette_repo::tree::{Node, NodeKind, Xattr, mode};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, Timespec,
    },
    io::{self, Errno},
    path,
    time::ClockId,
};
use serde::{Deserialize, Serialize};

/// A point in time as file systems keep it: any second, not only those that a calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileTime {
    /// Since 1970, also before it.
    pub(crate) seconds: i64,
    /// Of the second, forward.
    pub(crate) nanos: u32,
}

/// Metadata of one file, directory, link, pipe or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    /// What it is; a socket is [`NodeKind::Other`].
    pub(crate) kind: NodeKind,
    /// The twelve bits: set-user-id, set-group-id, sticky, and nine permissions.
    pub(crate) permissions: u32,
    /// Numeric owner.
    pub(crate) uid: u32,
    /// Numeric group.
    pub(crate) gid: u32,
    /// Of its content, in bytes.
    pub(crate) size: u64,
    /// On disk, in bytes: less than the size for a file with holes.
    pub(crate) allocated: u64,
    /// How many names it has.
    pub(crate) links: u64,
    /// When its content changed.
    pub(crate) mtime: FileTime,
    /// When anything of it changed; nobody can set it.
    pub(crate) ctime: FileTime,
    /// Its file system.
    pub(crate) device: u64,
    /// Its number there.
    pub(crate) number: u64,
    /// Which device it is, for one that is.
    pub(crate) special: u64,
    /// Whether another file system is mounted on it.
    pub(crate) is_mount: bool,
}

impl Inode {
    /// Of the entry `name` of `dir`, which is one component and is not followed when it is a link.
    pub(crate) fn at(dir: impl AsFd, name: &[u8]) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS).map(|it| Self::of(&it))
    }

    /// Of what is open.
    pub(crate) fn open(file: impl AsFd) -> io::Result<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
        rustix::fs::statx(file, c"", flags, StatxFlags::BASIC_STATS).map(|it| Self::of(&it))
    }

    fn of(stat: &Statx) -> Self {
        let mode = u32::from(stat.stx_mode);
        let kind = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Dir,
            FileType::Symlink => NodeKind::Symlink,
            FileType::BlockDevice => NodeKind::Dev,
            FileType::CharacterDevice => NodeKind::CharDev,
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket | FileType::Unknown => NodeKind::Other,
        };
        Self {
            kind,
            permissions: mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            allocated: stat.stx_blocks.saturating_mul(512),
            links: u64::from(stat.stx_nlink),
            mtime: FileTime { seconds: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec },
            ctime: FileTime { seconds: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec },
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            number: stat.stx_ino,
            special: rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
            is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        }
    }

    /// Whether nothing of `self` has changed in `later`. A read in between changes `atime` only,
    /// which is not kept; the kernel may have found other blocks for the same content.
    pub(crate) fn is_still(&self, later: &Self) -> bool {
        *self == Self { allocated: self.allocated, ..*later }
    }

    /// The entry of a tree with this metadata. Number and file system are kept of files with
    /// several names only: nobody asks for others, and they differ after each restore.
    pub(crate) fn node(&self, name: &[u8], xattrs: Vec<Xattr>) -> Node {
        let mtime = self.mtime.to_timestamp();
        let mut node = Node::new(name, self.kind, mtime);
        node.mode = mode::from_unix(self.permissions | unix_type(self.kind));
        node.ctime = self.ctime.to_timestamp();
        node.uid = self.uid;
        node.gid = self.gid;
        node.links = self.links;
        node.xattrs = xattrs;
        if self.kind == NodeKind::File {
            node.size = self.size;
            if self.links > 1 {
                node.inode = self.number;
                node.device_id = self.device;
            }
        }
        if matches!(self.kind, NodeKind::Dev | NodeKind::CharDev) {
            node.device = self.special;
        }
        node
    }
}

const fn unix_type(kind: NodeKind) -> u32 {
    match kind {
        NodeKind::File => 0o100_000,
        NodeKind::Dir => 0o040_000,
        NodeKind::Symlink => 0o120_000,
        NodeKind::Dev => 0o060_000,
        NodeKind::CharDev => 0o020_000,
        NodeKind::Fifo => 0o010_000,
        NodeKind::Other => 0o140_000,
    }
}

impl FileTime {
    /// The nearest one that a calendar has, which ends in the year 9999.
    fn to_timestamp(self) -> Timestamp {
        let nanos = i32::try_from(self.nanos).unwrap_or(0);
        let end = if self.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::new(self.seconds, nanos).unwrap_or(end)
    }

    /// By the clock that the kernel stamps files with.
    pub(crate) fn now() -> Self {
        let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
        Self { seconds: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
    }

    /// As system calls take it.
    pub(crate) fn to_timespec(self) -> Timespec {
        Timespec { tv_sec: self.seconds, tv_nsec: self.nanos.into() }
    }

    /// Milliseconds from this one to `later`; negative when that is earlier.
    pub(crate) fn millis_until(self, later: Self) -> i64 {
        let seconds = later.seconds.saturating_sub(self.seconds).saturating_mul(1000);
        seconds.saturating_add((i64::from(later.nanos) - i64::from(self.nanos)) / 1_000_000)
    }
}

/// Opens the entry `name` of `dir`: one component, never a link, never another file system.
pub(crate) fn open_beneath(
    dir: impl AsFd,
    name: &[u8],
    flags: OFlags,
) -> io::Result<std::os::fd::OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    open_resolving(dir, name, flags, Mode::empty(), resolve)
}

/// `openat2`, asked again when the kernel says that a rename elsewhere was in its way.
pub(crate) fn open_resolving(
    dir: impl AsFd,
    name: impl path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<std::os::fd::OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let mut last = Errno::AGAIN;
    for _ in 0..16 {
        match rustix::fs::openat2(&dir, name, flags, mode, resolve) {
            Err(Errno::AGAIN) => last = Errno::AGAIN,
            outcome => return outcome,
        }
    }
    Err(last)
}

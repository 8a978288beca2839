//! Exchange: how a restored tree takes the place of a live one, and how that is taken back.
//!
//! Everything is in one directory whose name is the run's, beside the root or in it:
//!
//! ```text
//! new/        the restored tree, until it is in its place
//! previous/   what was there before, from then on until it is accepted
//! swap.json   written and synced before anything live is touched
//! ```
//!
//! Where things stand is read from where they are, never from a note about it: a rename is done
//! or not done. So each call can be repeated, and [`Exchange::undo`] works after a crash anywhere.

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use lazarette_core::{
    error::{Reason, ReasonedError},
    id::RunId,
};
use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Timestamps, Uid},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{
    attributes::Holder,
    confine::Place,
    inode::{FileTime, Inode, open_beneath},
    removal::{names, remove_tree},
};

mod entries;
mod journal;
mod paths;

pub use self::paths::FileDifference;

/// How every name that an exchange makes begins. A backup leaves such names out.
pub(crate) const PREFIX: &str = ".lazarette-run-";

const NEW: &[u8] = b"new";
const PREVIOUS: &[u8] = b"previous";

/// Which of the two ways, by H9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The directory itself changes places with one beside it, in one step. Only for a plain
    /// directory that nobody has mounted.
    Directory,
    /// The directory stays, its entries change places, one after the other.
    Entries,
    /// Single files in the directory change places with those of their path.
    Paths,
    /// Single files in the directory get other content: somebody has them mounted by themselves.
    Content,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Directory => "the directory is exchanged",
            Self::Entries => "its entries are exchanged",
            Self::Paths => "its files are exchanged",
            Self::Content => "its files are written over",
        })
    }
}

/// An exchange did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A system call failed.
    #[error("{doing} `{path}`")]
    Call {
        /// Verb and object.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The journal cannot be understood, so nothing is touched.
    #[error("read `{path}`, which says how to undo run {run}; move it away only by hand")]
    Journal {
        /// Where it is.
        path: PathBuf,
        /// Whose it is.
        run: RunId,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Another file system is mounted on something that would have to move.
    #[error("exchange `{path}`: another file system is mounted on it; unmount it and try again")]
    Mounted {
        /// Where.
        path: PathBuf,
    },
    /// A call came before the one that it needs.
    #[error("{doing} `{path}`: run {run} has put nothing there")]
    NotPrepared {
        /// Verb.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Whose.
        run: RunId,
    },
}

impl ReasonedError for ExchangeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Call { source, .. } if is_full(source) => Reason::DiskFull,
            Self::Mounted { .. } => Reason::StackUnsupported,
            Self::Call { .. } | Self::Journal { .. } | Self::NotPrepared { .. } => {
                Reason::RestoreFailed
            }
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// The exchange of one root by one run.
#[derive(Debug)]
pub struct Exchange {
    run: RunId,
    way: Way,
    /// The directory that holds `.lazarette-run-…`: the root, or the one around it.
    around: OwnedFd,
    /// Where that is, for messages.
    path: PathBuf,
    /// What the root is called in `around`; for [`Way::Directory`] only.
    root: Vec<u8>,
}

impl Exchange {
    /// Of the directory at `root`, whose parents may be links; it may not.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::Call`] when it cannot be opened, [`ExchangeError::Mounted`] when it would
    /// have to move and is a mount point.
    pub fn of(root: &Path, way: Way, run: RunId) -> Result<Self, ExchangeError> {
        let (outer, name) = match (root.parent(), root.file_name()) {
            (Some(outer), Some(name)) => (outer, name),
            _ => (root, std::ffi::OsStr::new(".")),
        };
        let fail = |doing| ExchangeError::call(doing, root);
        let outer_dir = open_dir(outer).map_err(ExchangeError::call("open", outer))?;
        let inode = Inode::at(&outer_dir, name.as_encoded_bytes()).map_err(fail("look at"))?;
        if way == Way::Directory && inode.is_mount {
            return Err(ExchangeError::Mounted { path: root.to_path_buf() });
        }
        let root_name = name.as_encoded_bytes().to_vec();
        let (around, path) = match way {
            Way::Directory => (outer_dir, outer.to_path_buf()),
            Way::Entries | Way::Paths | Way::Content => {
                let inner = open_root(&outer_dir, name.as_encoded_bytes()).map_err(fail("open"))?;
                (inner, root.to_path_buf())
            }
        };
        Ok(Self { run, way, around, path, root: root_name })
    }

    fn call(&self, doing: &'static str) -> impl FnOnce(Errno) -> ExchangeError + use<> {
        ExchangeError::call(doing, &self.work_path())
    }

    /// What a copy of content or metadata ended with.
    fn copied(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> ExchangeError + use<> {
        let path = self.work_path();
        move |source| ExchangeError::Call { doing, path, source }
    }

    fn work_name(&self) -> String {
        format!(".lazarette-{}", self.run)
    }

    /// The exchange of `run` that was prepared at `root`, whichever way; nothing when there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::of`].
    pub fn find(root: &Path, ways: &[Way], run: RunId) -> Result<Option<Self>, ExchangeError> {
        for way in ways {
            let exchange = match Self::of(root, *way, run) {
                Err(ExchangeError::Mounted { .. }) => continue,
                outcome => outcome?,
            };
            if exchange.work()?.is_some() {
                return Ok(Some(exchange));
            }
        }
        Ok(None)
    }

    /// How it is done.
    pub const fn way(&self) -> Way {
        self.way
    }

    /// The directory that holds everything of this run.
    pub fn work_path(&self) -> PathBuf {
        self.path.join(self.work_name())
    }

    /// Where the tree is restored to.
    pub fn new_path(&self) -> PathBuf {
        self.work_path().join("new")
    }

    /// The directory that holds everything of this run, when there is one.
    fn work(&self) -> Result<Option<OwnedFd>, ExchangeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match open_beneath(&self.around, self.work_name().as_bytes(), flags) {
            Ok(work) => Ok(Some(work)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.call("open")(error)),
        }
    }

    /// An empty directory to restore into. What an earlier try left is undone first.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`], with nothing live touched.
    pub fn prepare(&self) -> Result<PathBuf, ExchangeError> {
        self.undo()?;
        if self.way == Way::Entries {
            self.refuse_mounts()?;
        }
        let make = |dir: &OwnedFd, name: &[u8]| {
            rustix::fs::mkdirat(dir, name, Mode::RWXU)?;
            let made = open_beneath(dir, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            // A default ACL of the root shall not mark what is restored.
            for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
                match rustix::fs::fremovexattr(&made, acl) {
                    Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
                    Err(error) => return Err(error),
                }
            }
            rustix::fs::fchmod(&made, Mode::RWXU)?;
            Ok(made)
        };
        let time = self.time()?;
        let work = make(&self.around, self.work_name().as_bytes()).map_err(self.call("make"))?;
        make(&work, NEW).map_err(self.call("make"))?;
        self.set_time(time)?;
        Ok(self.new_path())
    }

    /// Puts what was restored in the place of what is there.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`]; [`Self::undo`] leads back from wherever it stopped.
    pub fn swap(&self) -> Result<(), ExchangeError> {
        let not_prepared = || ExchangeError::NotPrepared {
            doing: "exchange",
            path: self.path.clone(),
            run: self.run,
        };
        let work = self.work()?.ok_or_else(not_prepared)?;
        // All that was restored is on disk before anything points to it.
        rustix::fs::syncfs(&work).map_err(self.call("sync"))?;
        match self.way {
            Way::Directory => self.swap_directory(&work)?,
            Way::Entries => self.swap_entries(&work)?,
            Way::Paths => self.swap_paths(&work, false)?,
            Way::Content => self.swap_paths(&work, true)?,
        }
        rustix::fs::fsync(&work).map_err(self.call("sync"))?;
        rustix::fs::fsync(&self.around).map_err(self.call("sync"))
    }

    /// Leads back to before [`Self::prepare`], wherever things stand.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`]; it can be called again.
    pub fn undo(&self) -> Result<(), ExchangeError> {
        let Some(work) = self.work()? else { return Ok(()) };
        match self.way {
            Way::Directory => self.unswap_directory(&work)?,
            Way::Entries => self.unswap_entries(&work)?,
            Way::Paths => self.unswap_paths(&work, false)?,
            Way::Content => self.unswap_paths(&work, true)?,
        }
        rustix::fs::fsync(&self.around).map_err(self.call("sync"))?;
        self.remove()
    }

    /// Removes what was there before.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::NotPrepared`] when the exchange was not made, so that what would be removed
    /// is the only restored copy; otherwise it can be called again.
    pub fn accept(&self) -> Result<(), ExchangeError> {
        let Some(work) = self.work()? else { return Ok(()) };
        let is_done = self.is_done_in(&work)?;
        // Half removed by an accept that was stopped: there is no journal, and no `new` either.
        let is_left = exists(&work, NEW).map_err(self.call("look into"))?;
        if !is_done && is_left {
            return Err(ExchangeError::NotPrepared {
                doing: "accept",
                path: self.path.clone(),
                run: self.run,
            });
        }
        self.remove()
    }

    /// Whether what was restored is in its place.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when it cannot be looked at.
    pub fn is_done(&self) -> Result<bool, ExchangeError> {
        self.work()?.map_or(Ok(false), |work| self.is_done_in(&work))
    }

    fn is_done_in(&self, work: &OwnedFd) -> Result<bool, ExchangeError> {
        match self.way {
            Way::Directory => self.is_swapped(work),
            Way::Entries => self.are_entries_swapped(work),
            Way::Paths | Way::Content => self.are_paths_swapped(work),
        }
    }

    fn remove(&self) -> Result<(), ExchangeError> {
        let (name, time) = (self.work_name(), self.time()?);
        remove_tree(&self.around, name.as_bytes()).map_err(self.call("remove"))?;
        self.set_time(time)?;
        rustix::fs::fsync(&self.around).map_err(self.call("sync"))
    }

    /// When what is around this exchange has changed. That it comes and goes is no such change.
    fn time(&self) -> Result<FileTime, ExchangeError> {
        Inode::open(&self.around).map(|it| it.mtime).map_err(self.call("look beside"))
    }

    fn set_time(&self, time: FileTime) -> Result<(), ExchangeError> {
        let time = time.to_timespec();
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&self.around, &times).map_err(self.call("set the time beside"))
    }

    fn swap_directory(&self, work: &OwnedFd) -> Result<(), ExchangeError> {
        if !self.is_swapped(work)? {
            let place = |dir: &OwnedFd, name: &[u8]| {
                Inode::at(dir, name).map(|it| Place::of(&it)).map_err(self.call("look into"))
            };
            let journal = journal::Journal::Directory {
                new: place(work, NEW)?,
                previous: place(&self.around, &self.root)?,
            };
            self.write_journal(work, &journal)?;
            rustix::fs::renameat_with(work, NEW, &self.around, &*self.root, RenameFlags::EXCHANGE)
                .map_err(self.call("exchange the root with what is in"))?;
        }
        match rustix::fs::renameat_with(work, NEW, work, PREVIOUS, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.call("rename what is in")(error)),
        }
    }

    fn unswap_directory(&self, work: &OwnedFd) -> Result<(), ExchangeError> {
        if !self.is_swapped(work)? {
            return Ok(());
        }
        let is_renamed = exists(work, PREVIOUS).map_err(self.call("look into"))?;
        let old = if is_renamed { PREVIOUS } else { NEW };
        rustix::fs::renameat_with(work, old, &self.around, &*self.root, RenameFlags::EXCHANGE)
            .map_err(self.call("exchange the root with what is in"))
    }

    /// Whether the root is what was restored.
    fn is_swapped(&self, work: &OwnedFd) -> Result<bool, ExchangeError> {
        let Some(journal::Journal::Directory { new, .. }) = self.read_journal(work)? else {
            return Ok(false);
        };
        let root = Inode::at(&self.around, &self.root).map_err(self.call("look beside"))?;
        Ok(Place::of(&root) == new)
    }

    /// Refuses when something below the root is a mount point: it could not move.
    fn refuse_mounts(&self) -> Result<(), ExchangeError> {
        for name in names(&self.around).map_err(self.call("list"))? {
            let inode = Inode::at(&self.around, &name).map_err(self.call("look into"))?;
            if inode.is_mount {
                let name = String::from_utf8_lossy(&name).into_owned();
                return Err(ExchangeError::Mounted { path: self.path.join(name) });
            }
        }
        Ok(())
    }
}

impl ExchangeError {
    fn call(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self + use<> {
        let path = path.to_path_buf();
        move |errno| Self::Call { doing, path, source: errno.into() }
    }
}

/// Owner, permissions, attributes and time of one open file or directory to another.
fn copy_metadata(from: &OwnedFd, to: &OwnedFd) -> std::io::Result<()> {
    let inode = Inode::open(from)?;
    let attributes = Holder::Open(from.as_fd()).read()?.kept;
    let (uid, gid) = (Uid::from_raw(inode.uid), Gid::from_raw(inode.gid));
    rustix::fs::fchown(to, Some(uid), Some(gid))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(inode.permissions))?;
    let written = Holder::Open(to.as_fd()).remove_others(&attributes);
    let written = written.and_then(|()| Holder::Open(to.as_fd()).write(&attributes));
    written.map_err(std::io::Error::other)?;
    let time = inode.mtime.to_timespec();
    rustix::fs::futimens(to, &Timestamps { last_access: time, last_modification: time })?;
    Ok(())
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Opens the root, which may be a mount point and may not be a link.
fn open_root(outer: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(outer, name, flags, Mode::empty())
}

/// Whether `dir` has an entry `name`.
fn exists(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<bool> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

//! Roots: directories of this host that are saved and restored, opened once and never by a link
//! that somebody in a container could have put there (H12).

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use lazarette_core::error::{Reason, ReasonedError};
use lazarette_repo::tree::NodeKind;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{
    confine::Place,
    inode::{Inode, open_resolving},
};

/// A directory that cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It does not exist.
    #[error("open `{path}`: there is nothing; is its disk mounted?")]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A link leads somewhere else.
    #[error(
        "open `{path}`: it leads through a symbolic link, which could be a container's; give the \
         path that it leads to"
    )]
    Link {
        /// Which.
        path: PathBuf,
    },
    /// It is something else.
    #[error("open `{path}`: it is neither a directory nor a file")]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("open `{path}`")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ReasonedError for RootError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing { .. } | Self::Special { .. } => Reason::StackUnsupported,
            Self::Link { .. } => Reason::PolicyDenied,
            Self::Open { .. } => Reason::DumpFailed,
        }
    }
}

/// An open directory.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    place: Place,
    is_mount: bool,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A directory.
    Directory(Root),
    /// A file, in this directory, by this name.
    File(Root, Vec<u8>),
}

impl Root {
    /// The directory `path`, to which no link leads: one that people name.
    ///
    /// # Errors
    ///
    /// [`RootError`].
    pub fn named(path: &Path) -> Result<Self, RootError> {
        Self::open(path, ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
    }

    /// The directory `path`, to which links of the host may lead, but which is none itself: one
    /// that the Docker Engine names.
    ///
    /// # Errors
    ///
    /// [`RootError`].
    pub fn of_engine(path: &Path) -> Result<Self, RootError> {
        Self::open(path, ResolveFlags::NO_MAGICLINKS)
    }

    /// What is at `path`, to which no link leads.
    ///
    /// # Errors
    ///
    /// [`RootError`].
    pub fn find(path: &Path) -> Result<Found, RootError> {
        let (Some(outer), Some(name)) = (path.parent(), path.file_name()) else {
            return Self::named(path).map(Found::Directory);
        };
        let outer = Self::named(outer)?;
        let name = name.as_encoded_bytes();
        let inode = Inode::at(&outer.dir, name).map_err(fail(path))?;
        match inode.kind {
            NodeKind::Dir => Self::named(path).map(Found::Directory),
            NodeKind::File => Ok(Found::File(outer, name.to_vec())),
            NodeKind::Symlink => Err(RootError::Link { path: path.to_path_buf() }),
            NodeKind::Dev | NodeKind::CharDev | NodeKind::Fifo | NodeKind::Other => {
                Err(RootError::Special { path: path.to_path_buf() })
            }
        }
    }

    fn open(path: &Path, resolve: ResolveFlags) -> Result<Self, RootError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = open_resolving(rustix::fs::CWD, path, flags, Mode::empty(), resolve);
        let dir = dir.map_err(fail(path))?;
        let inode = Inode::open(&dir).map_err(fail(path))?;
        let (place, is_mount) = (Place::of(&inode), inode.is_mount);
        Ok(Self { dir, path: path.to_path_buf(), place, is_mount })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file system is mounted there.
    pub const fn is_mount(&self) -> bool {
        self.is_mount
    }

    /// Those of `paths` that are not in it, or only by way of a link; for people.
    pub fn missing(&self, paths: &[Vec<u8>]) -> Vec<String> {
        let is_there = |path: &[u8]| {
            // O_PATH does not go with the flags that every file is opened with.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            let outer = path.iter().rposition(|byte| *byte == b'/').map(|at| path.split_at(at).0);
            let has_outer = outer.is_none_or(|outer| {
                let resolve = resolve | ResolveFlags::NO_SYMLINKS;
                open_resolving(&self.dir, outer, flags, Mode::empty(), resolve).is_ok()
            });
            has_outer && open_resolving(&self.dir, path, flags, Mode::empty(), resolve).is_ok()
        };
        paths.iter().filter(|path| !is_there(path)).map(|path| super::walk::shown(path)).collect()
    }

    /// The open directory.
    pub(crate) const fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// What names it as long as it exists.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }
}

fn fail(path: &Path) -> impl FnOnce(Errno) -> RootError + use<> {
    let path = path.to_path_buf();
    move |errno| match errno {
        Errno::NOENT => RootError::Missing { path },
        Errno::LOOP => RootError::Link { path },
        // A link where a directory was asked for.
        Errno::NOTDIR if path.is_symlink() => RootError::Link { path },
        Errno::NOTDIR => RootError::Special { path },
        errno => RootError::Open { path, source: errno.into() },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_that_leads_through_a_link_is_refused_and_says_so() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().canonicalize().unwrap();
        std::fs::create_dir(path.join("real")).unwrap();
        std::fs::write(path.join("real/file"), "x").unwrap();
        symlink("real", path.join("link")).unwrap();

        assert!(matches!(Root::named(&path.join("link")), Err(RootError::Link { .. })));
        assert!(matches!(Root::find(&path.join("link/file")), Err(RootError::Link { .. })));
        assert!(matches!(Root::of_engine(&path.join("link")), Err(RootError::Link { .. })));
        assert!(matches!(Root::find(&path.join("gone")), Err(RootError::Missing { .. })));
        assert!(matches!(Root::find(&path.join("real")), Ok(Found::Directory(_))));
        assert!(matches!(Root::find(&path.join("real/file")), Ok(Found::File(..))));
    }
}

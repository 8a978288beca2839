//! Paths in a root that stays: each file changes places with the one of its path, or gets its
//! content where somebody may have it mounted by itself.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use lazarette_repo::{hash::Hasher, tree::NodeKind};
use rustix::{
    fs::{Mode, OFlags, RenameFlags, ResolveFlags},
    io::Errno,
};

use super::{Exchange, ExchangeError, NEW, PREVIOUS, copy_metadata, exists, journal::Journal};
use crate::volume::{
    inode::{Inode, open_beneath, open_resolving},
    removal::names,
    walk::shown,
};

/// A file that is not what was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDifference {
    /// From the root, for people.
    pub path: String,
    /// What is the matter, and what becomes of it.
    pub what: &'static str,
}

/// Hashes what is written to it.
struct Hashing(Hasher);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file being copied, before it has its name.
const PART: &[u8] = b".part";

impl Exchange {
    /// Puts every file of `new` in the place of the one of its path, which goes to `previous`.
    pub(super) fn swap_paths(&self, work: &OwnedFd, in_place: bool) -> Result<(), ExchangeError> {
        let new = self.inner(work, NEW)?;
        let journal = self.read_journal(work)?;
        let (leaves, made) = if let Some(Journal::Paths { leaves, made, .. }) = journal {
            (decode(&leaves), decode(&made))
        } else {
            self.make_previous(work)?;
            let found = self.list(&new)?;
            let (leaves, made, time) = (encode(&found.0), encode(&found.1), self.time()?);
            let journal = Journal::Paths { leaves, made, time };
            self.write_journal(work, &journal)?;
            found
        };
        for dir in &made {
            let (parent, name) = self.parent(&self.around, dir)?;
            match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(self.call("make a directory beside")(error)),
            }
            let (to, from) = (self.dir_at(&self.around, dir)?, self.dir_at(&new, dir)?);
            copy_metadata(&from, &to).map_err(self.copied("make a directory beside"))?;
        }
        let previous = self.inner(work, PREVIOUS)?;
        for leaf in &leaves {
            if in_place {
                self.place_content(leaf, &new, &previous)?;
            } else {
                self.place_path(leaf, &new, &previous)?;
            }
        }
        Ok(())
    }

    /// The same, backwards.
    pub(super) fn unswap_paths(&self, work: &OwnedFd, in_place: bool) -> Result<(), ExchangeError> {
        let Some(Journal::Paths { leaves, made, time }) = self.read_journal(work)? else {
            return Ok(());
        };
        let (new, previous) = (self.inner(work, NEW)?, self.inner(work, PREVIOUS)?);
        for leaf in decode(&leaves) {
            let is_out = self.has(&new, &leaf)?;
            let old_is_away = self.has(&previous, &leaf)?;
            if in_place && old_is_away {
                self.copy_into(&previous, &leaf)?;
                continue;
            }
            if !is_out {
                self.move_path(&self.around, &new, &leaf)?;
            }
            if old_is_away {
                self.move_path(&previous, &self.around, &leaf)?;
            }
        }
        for dir in decode(&made).iter().rev() {
            let Ok((parent, name)) = self.parent(&self.around, dir) else { continue };
            match rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(self.call("remove a directory beside")(error)),
            }
        }
        self.set_time(time)
    }

    /// Whether every file is in its place.
    pub(super) fn are_paths_swapped(&self, work: &OwnedFd) -> Result<bool, ExchangeError> {
        let Some(Journal::Paths { leaves, .. }) = self.read_journal(work)? else {
            return Ok(false);
        };
        let new = self.inner(work, NEW)?;
        for leaf in decode(&leaves) {
            if self.has(&new, &leaf)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What will differ when `new` is put in its place, by path.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when something cannot be read.
    pub fn differences(&self) -> Result<Vec<FileDifference>, ExchangeError> {
        let Some(work) = self.work()? else { return Ok(Vec::new()) };
        let new = self.inner(&work, NEW)?;
        let (leaves, _) = self.list(&new)?;
        let mut differences = Vec::new();
        for leaf in leaves {
            let what = if !self.has(&self.around, &leaf)? {
                "is missing, and comes back"
            } else if self.is_same(&new, &leaf)? {
                continue;
            } else {
                "differs, and becomes what was saved"
            };
            differences.push(FileDifference { path: shown(&leaf), what });
        }
        Ok(differences)
    }

    /// Whether the file at `path` has the same content in the root; what is no file is compared by
    /// its kind and where it points.
    fn is_same(&self, new: &OwnedFd, path: &[u8]) -> Result<bool, ExchangeError> {
        let look = |dir: &OwnedFd| -> Result<(NodeKind, u64, Vec<u8>), ExchangeError> {
            let (parent, name) = self.parent(dir, path)?;
            let inode = Inode::at(&parent, name).map_err(self.call("look into"))?;
            let mut content = Vec::new();
            if inode.kind == NodeKind::File {
                let file = open_beneath(&parent, name, OFlags::RDONLY | OFlags::NONBLOCK)
                    .map_err(self.call("open a file beside"))?;
                let mut hasher = Hashing(Hasher::default());
                io::copy(&mut File::from(file), &mut hasher)
                    .map_err(self.copied("read a file beside"))?;
                content.extend_from_slice(&hasher.0.finish());
            } else if inode.kind == NodeKind::Symlink {
                let target = rustix::fs::readlinkat(&parent, name, Vec::new());
                content = target.map_err(self.call("read a link beside"))?.into_bytes();
            }
            Ok((inode.kind, inode.size, content))
        };
        Ok(look(new)? == look(&self.around)?)
    }

    fn place_path(
        &self,
        leaf: &[u8],
        new: &OwnedFd,
        previous: &OwnedFd,
    ) -> Result<(), ExchangeError> {
        if !self.has(new, leaf)? {
            return Ok(());
        }
        if !self.has(previous, leaf)? && self.has(&self.around, leaf)? {
            self.make_parents(previous, leaf)?;
            self.move_path(&self.around, previous, leaf)?;
        }
        self.move_path(new, &self.around, leaf)
    }

    /// Writes what is in `new` into the file that is there, after a copy of it was put aside.
    fn place_content(
        &self,
        leaf: &[u8],
        new: &OwnedFd,
        previous: &OwnedFd,
    ) -> Result<(), ExchangeError> {
        let (parent, name) = self.parent(&self.around, leaf)?;
        let is_file = Inode::at(&parent, name).is_ok_and(|it| it.kind == NodeKind::File);
        if !is_file {
            return self.place_path(leaf, new, previous);
        }
        if !self.has(new, leaf)? {
            return Ok(());
        }
        if !self.has(previous, leaf)? {
            self.make_parents(previous, leaf)?;
            let (to, to_name) = self.parent(previous, leaf)?;
            let mode = Mode::RUSR | Mode::WUSR;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
            let part = open_resolving(&to, PART, flags, mode, ResolveFlags::BENEATH)
                .map_err(self.call("make a copy in"))?;
            let live = open_beneath(&parent, name, OFlags::RDONLY | OFlags::NONBLOCK)
                .map_err(self.call("open a file beside"))?;
            copy(live, part).map_err(self.copied("make a copy in"))?;
            rustix::fs::renameat(&to, PART, &to, to_name).map_err(self.call("keep a copy in"))?;
        }
        self.copy_into(new, leaf)?;
        // Done for this one: what is left in `new` says what is still to do.
        let (from, from_name) = self.parent(new, leaf)?;
        rustix::fs::unlinkat(&from, from_name, rustix::fs::AtFlags::empty())
            .map_err(self.call("remove what was copied from"))
    }

    fn copy_into(&self, from: &OwnedFd, leaf: &[u8]) -> Result<(), ExchangeError> {
        let ((source, name), (target, _)) =
            (self.parent(from, leaf)?, self.parent(&self.around, leaf)?);
        let source = open_beneath(&source, name, OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(self.call("open a file in"))?;
        let target = open_beneath(&target, name, OFlags::WRONLY | OFlags::NONBLOCK)
            .map_err(self.call("open a file beside"))?;
        copy(source, target).map_err(self.copied("write a file beside"))
    }

    /// The paths of all files of a tree, and those of its directories that the root does not have.
    #[expect(clippy::type_complexity, reason = "files, and directories")]
    fn list(&self, new: &OwnedFd) -> Result<(Vec<Vec<u8>>, Vec<Vec<u8>>), ExchangeError> {
        let (mut leaves, mut made) = (Vec::new(), Vec::new());
        let mut left = vec![Vec::new()];
        while let Some(path) = left.pop() {
            let dir = self.dir_at(new, &path)?;
            for name in names(&dir).map_err(self.call("list"))? {
                let inner = [path.as_slice(), &name].join(&b'/');
                let inner = inner.strip_prefix(b"/").unwrap_or(&inner).to_vec();
                let inode = Inode::at(&dir, &name).map_err(self.call("look into"))?;
                if inode.kind != NodeKind::Dir {
                    leaves.push(inner);
                    continue;
                }
                if !self.has(&self.around, &inner)? {
                    made.push(inner.clone());
                }
                left.push(inner);
            }
        }
        leaves.sort_unstable();
        made.sort_unstable();
        Ok((leaves, made))
    }

    fn move_path(&self, from: &OwnedFd, to: &OwnedFd, path: &[u8]) -> Result<(), ExchangeError> {
        let ((from, name), (to, _)) = (self.parent(from, path)?, self.parent(to, path)?);
        rustix::fs::renameat_with(&from, name, &to, name, RenameFlags::NOREPLACE)
            .map_err(self.call("move a file by way of"))
    }

    /// Makes the directories that lead to `path`.
    fn make_parents(&self, dir: &OwnedFd, path: &[u8]) -> Result<(), ExchangeError> {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let outer = path.get(..at).unwrap_or_default();
            let (parent, name) = self.parent(dir, outer)?;
            match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(self.call("make a directory in")(error)),
            }
        }
        Ok(())
    }

    fn has(&self, dir: &OwnedFd, path: &[u8]) -> Result<bool, ExchangeError> {
        match self.parent(dir, path) {
            Ok((parent, name)) => exists(&parent, name).map_err(self.call("look into")),
            Err(ExchangeError::Call { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The directory that holds the last name of `path`, and that name. No link is followed (H12).
    fn parent<'p>(
        &self,
        dir: &OwnedFd,
        path: &'p [u8],
    ) -> Result<(OwnedFd, &'p [u8]), ExchangeError> {
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (outer, name) = match at {
            Some(at) => {
                (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default())
            }
            None => (&b""[..], path),
        };
        Ok((self.dir_at(dir, outer)?, name))
    }

    fn dir_at(&self, dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd, ExchangeError> {
        let path = if path.is_empty() { b"." } else { path };
        open_beneath(dir, path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(self.call("open a directory beside"))
    }
}

/// Content and metadata of one file to another.
fn copy(from: OwnedFd, to: OwnedFd) -> io::Result<()> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    to.set_len(0)?;
    io::copy(&mut from, &mut to)?;
    copy_metadata(&from.as_fd().try_clone_to_owned()?, &to.as_fd().try_clone_to_owned()?)?;
    to.sync_all()
}

fn encode(paths: &[Vec<u8>]) -> Vec<String> {
    paths.iter().map(hex::encode).collect()
}

/// Paths that could lead out were not written by [`encode`]: they move nothing.
fn decode(paths: &[String]) -> Vec<Vec<u8>> {
    let is_name = |name: &[u8]| !name.is_empty() && name != b"." && name != b"..";
    let is_path = |path: &Vec<u8>| path.split(|byte| *byte == b'/').all(is_name);
    paths.iter().filter_map(|path| hex::decode(path).ok()).filter(is_path).collect()
}

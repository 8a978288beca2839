//! Attributes: the extended attributes of a file that a snapshot keeps; ACLs are among them.

use std::os::fd::BorrowedFd;

use lazarette_repo::tree::Xattr;
use rustix::{
    fs::XattrFlags,
    io::{self, Errno},
};

/// Enough for the names of nearly every file.
const NAMES_AT_FIRST: usize = 512;
/// The kernel's own limit for a value.
const VALUE_LIMIT: usize = 64 << 10;

/// Where attributes are read from and written to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A link, pipe or device, which cannot be opened: its path, not followed at its end.
    Path(&'a [u8]),
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Those that are kept, sorted by name.
    pub(crate) kept: Vec<Xattr>,
    /// Names of those that should be kept and cannot be: they are no UTF-8.
    pub(crate) unkept: Vec<String>,
}

/// Whether a snapshot keeps the attribute. What is left out belongs to the host and not to the
/// data: labels of `SELinux`, measurements of IMA, settings of one kind of file system.
fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name == b"security.capability"
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

impl Holder<'_> {
    /// Reads the attributes that are kept.
    pub(crate) fn read(self) -> io::Result<Attributes> {
        let mut names = [0; NAMES_AT_FIRST];
        match self.list(&mut names) {
            Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => Ok(Attributes::default()),
            Ok(length) => self.values(names.get(..length).unwrap_or_default()),
            Err(Errno::RANGE) => {
                let mut names = vec![0; VALUE_LIMIT];
                let length = self.list(&mut names)?;
                self.values(names.get(..length).unwrap_or_default())
            }
            Err(error) => Err(error),
        }
    }

    fn values(self, names: &[u8]) -> io::Result<Attributes> {
        let mut found = Attributes::default();
        let mut buffer = vec![0; VALUE_LIMIT];
        for name in names.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
            let Ok(name) = std::str::from_utf8(name) else {
                found.unkept.push(name.escape_ascii().to_string());
                continue;
            };
            let length = match self.get(name, &mut buffer) {
                Err(Errno::NODATA) => continue, // removed since it was listed
                outcome => outcome?,
            };
            let value = buffer.get(..length).unwrap_or_default().to_vec();
            found.kept.push(Xattr { name: name.to_owned(), value });
        }
        found.kept.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Writes `attributes`. Whatever is there by another name stays.
    pub(crate) fn write(self, attributes: &[Xattr]) -> Result<(), NotWritten> {
        for it in attributes {
            if !is_kept(it.name.as_bytes()) {
                continue; // written by another program: not ours to put on this host
            }
            let done = self.set(&it.name, &it.value);
            done.map_err(|errno| NotWritten { name: it.name.clone(), errno })?;
        }
        Ok(())
    }

    /// Removes what is kept and not in `attributes`.
    pub(crate) fn remove_others(self, attributes: &[Xattr]) -> Result<(), NotWritten> {
        let read = |errno| NotWritten { name: String::new(), errno };
        for it in self.read().map_err(read)?.kept {
            if attributes.iter().any(|other| other.name == it.name) {
                continue;
            }
            let done = match self {
                Self::Open(file) => rustix::fs::fremovexattr(file, &*it.name),
                Self::Path(path) => rustix::fs::lremovexattr(path, &*it.name),
            };
            done.map_err(|errno| NotWritten { name: it.name, errno })?;
        }
        Ok(())
    }

    fn list(self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Open(file) => rustix::fs::flistxattr(file, into),
            Self::Path(path) => rustix::fs::llistxattr(path, into),
        }
    }

    fn get(self, name: &str, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Open(file) => rustix::fs::fgetxattr(file, name, into),
            Self::Path(path) => rustix::fs::lgetxattr(path, name, into),
        }
    }

    fn set(self, name: &str, value: &[u8]) -> io::Result<()> {
        match self {
            Self::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
            Self::Path(path) => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()),
        }
    }
}

/// An attribute could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write the attribute `{}`", .name.escape_debug())]
pub(crate) struct NotWritten {
    name: String,
    #[source]
    errno: Errno,
}

impl NotWritten {
    /// What the kernel said.
    pub(crate) const fn errno(&self) -> Errno {
        self.errno
    }
}

//! Directory: the files around the database, which say whose it is and that it must be there.
//!
//! ```text
//! store.lock   one process at a time
//! store.id     written last when a store is made: from then on the database must be there
//! store.mark   the number of the last acknowledged batch
//! reserve      room for bad days
//! sled/        the database; sled.new/ while it is made
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use uuid::Uuid;

use super::error::OpenError;

/// What the first line of `store.id` begins with; the store's id follows.
const MARKER: &str = "lazarette-store 1 ";

/// A directory that no other process uses as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is missing, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(OpenError::io("make the directory", path))?;
        let lock_path = path.join("store.lock");
        let lock = options()
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(OpenError::io("open the lock file", &lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path: path.to_owned() }),
            Err(error) => Err(OpenError::io("lock the file", lock_path)(error.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("sled")
    }

    /// Where a database is made before it is a store's.
    pub(super) fn draft(&self) -> PathBuf {
        self.path.join("sled.new")
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.path.join("store.mark")
    }

    /// The id of the store that was made here, if one was.
    pub(super) fn marker(&self) -> Result<Option<Uuid>, OpenError> {
        let path = self.path.join("store.id");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("read the marker file", path)(error)),
        };
        let id = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.strip_prefix(MARKER))
            .and_then(|id| Uuid::try_parse(id.trim_end()).ok());
        id.map(Some).ok_or_else(|| OpenError::Foreign {
            path: self.path.clone(),
            what: "its marker file `store.id` is not one this version wrote".to_owned(),
        })
    }

    /// Says that a store with this id is here. What it says must be durable before.
    pub(super) fn set_marker(&self, id: Uuid) -> Result<(), OpenError> {
        let (path, draft) = (self.path.join("store.id"), self.path.join("store.id.new"));
        let written = || -> io::Result<()> {
            let mut file = options().create(true).truncate(true).open(&draft)?;
            writeln!(file, "{MARKER}{id}")?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        written().map_err(OpenError::io("write the marker file", &path))?;
        self.sync()
    }

    /// Makes the names in the directory, and its own name, durable.
    pub(super) fn sync(&self) -> Result<(), OpenError> {
        sync(&self.path)?;
        match self.path.canonicalize() {
            Ok(path) => path.parent().map_or(Ok(()), sync),
            Err(error) => Err(OpenError::io("find the directory", &self.path)(error)),
        }
    }
}

/// Syncs every file and directory in the tree at `path`.
pub(super) fn sync_tree(path: &Path) -> Result<(), OpenError> {
    let read = OpenError::io("read the directory", path);
    let entries: Vec<fs::DirEntry> =
        fs::read_dir(path).and_then(Iterator::collect).map_err(read)?;
    for entry in entries {
        let kind = entry.file_type().map_err(OpenError::io("look at", entry.path()))?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(path)
}

fn sync(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(OpenError::io("sync", path))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

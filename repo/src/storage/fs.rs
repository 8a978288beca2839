//! Directory: a storage in restic's own layout, which plain restic opens.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::ObjectId;
use crate::storage::{Created, Kind, Listed, ObjectName, Storage, StorageError};

/// What the names of files being written begin with. Restic leaves such files alone.
const UNFINISHED: &str = ".unfinished-";

/// How long nobody has written to a file that a crash has left.
const LEFT: Duration = Duration::from_hours(1);

/// Makes the names of unfinished files differ within this process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A storage in a directory: directories of mode 0700, files of mode 0600.
#[derive(Debug, Clone)]
pub struct FsStorage {
    root: PathBuf,
}

impl FsStorage {
    /// Makes the directories of a new repository at `root`, which must be missing or empty.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotARepository`] when something is there, [`StorageError::Denied`] and
    /// [`StorageError::Full`] as the system says.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let storage = Self::at(root.into());
        make_dir(&storage.root)?;
        let mut entries = std::fs::read_dir(&storage.root)
            .map_err(|source| failed("list the directory", &storage.root, source))?;
        if entries.next().is_some() {
            return Err(StorageError::NotARepository {
                place: storage.root.display().to_string(),
                reason: "a new one needs a directory that is missing or empty",
            });
        }
        for kind in Kind::ALL {
            make_dir(&storage.root.join(kind.folder()))?;
        }
        for first in 0..=u8::MAX {
            make_dir(&storage.root.join("data").join(format!("{first:02x}")))?;
        }
        sync_dir(&storage.root.join("data"))?;
        sync_dir(&storage.root)?;
        Ok(storage)
    }

    /// The repository at `root`, which must be writable. Files that a crash left unfinished go.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotARepository`] when none is there, [`StorageError::Denied`] when it cannot
    /// be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let storage = Self::at(root.into());
        let not = |reason| StorageError::NotARepository {
            place: storage.root.display().to_string(),
            reason,
        };
        match storage.root.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(not("it is no directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not("there is nothing; give the path of a repository, or make one"));
            }
            Err(error) => return Err(failed("open the directory", &storage.root, error)),
        }
        let config = storage.root.join("config");
        match config.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not("it has no file `config`; give the path of a repository"));
            }
            Err(error) => return Err(failed("find the file", &config, error)),
        }
        for kind in Kind::ALL {
            Self::prepare(&storage.root.join(kind.folder()))?;
        }
        Ok(storage)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Sees that `folder` is there and can be written, and sweeps it.
    fn prepare(folder: &Path) -> Result<(), StorageError> {
        make_dir(folder)?;
        let (probe, file) = unfinished(folder)?;
        let now = file.metadata().and_then(|probe| probe.modified());
        let now = now.map_err(|source| failed("read", &probe, source))?;
        drop(file);
        remove(&probe)?;
        let entries = std::fs::read_dir(folder)
            .map_err(|source| failed("list the directory", folder, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| failed("list the directory", folder, source))?;
            let is_ours = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
            let written = entry.metadata().and_then(|left| left.modified());
            if is_ours && written.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > LEFT))
            {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, name: ObjectName) -> PathBuf {
        self.root.join(name.to_string())
    }

    /// Where an object is written before it has its name: the folder of its kind, which [`Self::open`]
    /// sweeps.
    fn workshop(&self, name: ObjectName) -> PathBuf {
        match name {
            ObjectName::Pack(_) => self.root.join(Kind::Pack.folder()),
            ObjectName::Config => self.root.join(Kind::Lock.folder()),
            ObjectName::Key(_)
            | ObjectName::Index(_)
            | ObjectName::Snapshot(_)
            | ObjectName::Lock(_) => self.path(name).with_file_name(""),
        }
    }

    fn create_blocking(&self, name: ObjectName, content: &[u8]) -> Result<Created, StorageError> {
        let path = self.path(name);
        if path.exists() {
            return same_or_conflict(name, &path, content);
        }
        let (unfinished, mut file) = unfinished(&self.workshop(name))?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        drop(file);
        let linked = match written {
            Ok(()) => link(&unfinished, &path),
            Err(source) => Err(failed("write", &path, source)),
        };
        // The name is given by a hard link, which never replaces; the unfinished name goes in any case.
        let removed = remove(&unfinished);
        if !linked? {
            return same_or_conflict(name, &path, content);
        }
        removed?;
        sync_dir(path.parent().unwrap_or(&self.root))?;
        Ok(Created::New)
    }

    fn open_object(&self, name: ObjectName) -> Result<(PathBuf, File), StorageError> {
        let path = self.path(name);
        match File::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StorageError::NotFound { name })
            }
            Err(error) => Err(failed("open", &path, error)),
        }
    }

    fn read_blocking(&self, name: ObjectName) -> Result<Bytes, StorageError> {
        let (path, mut file) = self.open_object(name)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|source| failed("read", &path, source))?;
        Ok(content.into())
    }

    fn read_range_blocking(
        &self,
        name: ObjectName,
        range: &Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let (path, mut file) = self.open_object(name)?;
        let size = file.metadata().map_err(|source| failed("read", &path, source))?.len();
        let wanted = range.end;
        let length = wanted.saturating_sub(range.start);
        let short = StorageError::Short { name, wanted, size };
        if wanted > size || range.start > wanted {
            return Err(short);
        }
        let capacity = usize::try_from(length).unwrap_or_default();
        let mut content = Vec::with_capacity(capacity);
        let read = file.seek(SeekFrom::Start(range.start));
        read.and_then(|_| file.take(length).read_to_end(&mut content))
            .map_err(|source| failed("read", &path, source))?;
        if content.len() != capacity {
            return Err(short); // somebody cuts it at this very moment
        }
        Ok(content.into())
    }

    fn list_blocking(&self, kind: Kind) -> Result<Vec<Listed>, StorageError> {
        let root = self.root.join(kind.folder());
        let mut found = Vec::new();
        if kind == Kind::Pack {
            for first in 0..=u8::MAX {
                list_folder(&root.join(format!("{first:02x}")), &mut found)?;
            }
        } else {
            list_folder(&root, &mut found)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn delete_blocking(&self, name: ObjectName) -> Result<(), StorageError> {
        let path = self.path(name);
        remove(&path)?;
        sync_dir(path.parent().unwrap_or(&self.root))
    }

    /// Runs `work` where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let storage = self.clone();
        match tokio::task::spawn_blocking(move || work(&storage)).await {
            Ok(result) => result,
            Err(error) => Err(failed("work in the directory", &self.root, io::Error::other(error))),
        }
    }
}

#[async_trait]
impl Storage for FsStorage {
    async fn create(&self, name: ObjectName, content: Bytes) -> Result<Created, StorageError> {
        self.blocking(move |storage| storage.create_blocking(name, &content)).await
    }

    async fn read(&self, name: ObjectName) -> Result<Bytes, StorageError> {
        self.blocking(move |storage| storage.read_blocking(name)).await
    }

    async fn read_range(&self, name: ObjectName, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.blocking(move |storage| storage.read_range_blocking(name, &range)).await
    }

    async fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        self.blocking(move |storage| {
            let (path, file) = storage.open_object(name)?;
            Ok(file.metadata().map_err(|source| failed("read", &path, source))?.len())
        })
        .await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Listed>, StorageError> {
        self.blocking(move |storage| storage.list_blocking(kind)).await
    }

    async fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        self.blocking(move |storage| storage.delete_blocking(name)).await
    }
}

fn unfinished(folder: &Path) -> Result<(PathBuf, File), StorageError> {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&path).map_err(|source| failed("create", &path, source))?;
    Ok((path, file))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::from_io(doing, path.display().to_string(), source)
}

fn make_dir(path: &Path) -> Result<(), StorageError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| failed("create the directory", path, source))
}

fn sync_dir(path: &Path) -> Result<(), StorageError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| failed("sync the directory", path, source))
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, error)),
    }
}

/// Gives `unfinished` the name `path`; false when somebody has it already.
fn link(unfinished: &Path, path: &Path) -> Result<bool, StorageError> {
    let linked = match std::fs::hard_link(unfinished, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Another program's repository may lack the folder of these two digits.
            make_dir(path.parent().unwrap_or(path))?;
            std::fs::hard_link(unfinished, path)
        }
        other => other,
    };
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed("name", path, error)),
    }
}

fn same_or_conflict(
    name: ObjectName,
    path: &Path,
    content: &[u8],
) -> Result<Created, StorageError> {
    let there = std::fs::read(path).map_err(|source| failed("read", path, source))?;
    if there != content {
        return Err(StorageError::Conflict { name });
    }
    // Whoever wrote it may have lost power before it was durable.
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| failed("sync", path, source))?;
    sync_dir(path.parent().unwrap_or(path))?;
    Ok(Created::AlreadyThere)
}

fn list_folder(folder: &Path, found: &mut Vec<Listed>) -> Result<(), StorageError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("list the directory", folder, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|source| failed("list the directory", folder, source))?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<ObjectId>().ok()) else {
            continue; // not named like an object: unfinished, or not ours
        };
        match entry.metadata() {
            Ok(metadata) => found.push(Listed { id, size: metadata.len() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // deleted meanwhile
            Err(error) => return Err(failed("read", &entry.path(), error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::id::PackId;
    use crate::storage::conformance;

    fn new() -> (tempfile::TempDir, FsStorage) {
        let scratch = tempfile::tempdir().unwrap();
        let storage = FsStorage::create(scratch.path().join("repository")).unwrap();
        (scratch, storage)
    }

    #[tokio::test]
    async fn a_directory_conforms() {
        let (_scratch, storage) = new();

        conformance::all(&storage).await;
    }

    #[tokio::test]
    async fn nobody_else_may_read_what_is_stored() {
        let (_scratch, storage) = new();
        let name = ObjectName::Pack(PackId::of(b"x"));

        storage.create(name, Bytes::from_static(b"x")).await.unwrap();

        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&storage.path(name)), 0o600);
        assert_eq!(mode(storage.root()), 0o700);
        assert_eq!(mode(&storage.root().join("data")), 0o700);
    }

    #[tokio::test]
    async fn what_a_crash_left_unfinished_is_swept_and_never_listed() {
        let (_scratch, storage) = new();
        storage.create(ObjectName::Config, Bytes::from_static(b"c")).await.unwrap();
        let left = storage.root().join("data").join(".unfinished-1-1");
        std::fs::write(&left, b"half").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&left).unwrap().set_modified(long_ago).unwrap();
        let fresh = storage.root().join("data").join(".unfinished-1-2");
        std::fs::write(&fresh, b"in the making").unwrap();

        assert_eq!(storage.list(Kind::Pack).await.unwrap(), []);
        FsStorage::open(storage.root()).unwrap();

        assert!(!left.exists());
        assert!(fresh.exists(), "another process may be writing it");
    }

    #[test]
    fn what_is_no_repository_is_refused_with_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        std::fs::write(&file, b"x").unwrap();

        let refused = |path: &Path| FsStorage::open(path).unwrap_err().to_string();

        assert!(refused(&scratch.path().join("missing")).contains("there is nothing"));
        assert!(refused(&file).contains("no directory"));
        assert!(refused(scratch.path()).contains("no file `config`"));
        let new = FsStorage::create(scratch.path()).unwrap_err();
        assert!(new.to_string().contains("missing or empty"), "{new}");
    }
}

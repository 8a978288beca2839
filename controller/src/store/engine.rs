//! Engine: the database file, opened and checked, and the one way to make it durable.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::StoreState;
use super::digest::Digest;
use super::directory::{self, Directory};
use super::disk::{Counting, Options};
use super::error::{Failure, OpenError, StoreError};
use super::mark::Mark;
use super::record::{self, Record};
use super::release;
use super::space::{Full, Room, Space};

/// The store's own record. No key of a batch begins with a zero byte.
pub(super) const HEAD: &[u8] = b"\0head";

/// So big that the fullest node of sled's tree (17 values of 64 KiB) is less than a quarter of a
/// segment. A bigger node goes to a file of its own in `blobs/`, which nobody syncs.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// For how long a database that was closed just now may keep its file.
const RELEASE: Duration = Duration::from_secs(10);

/// What the store knows of itself: written with each group of batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// The store's id, from the day it was made.
    pub(super) store: Uuid,
    /// How many groups of batches there were.
    pub(super) sequence: u64,
    /// Of all entries but this one.
    pub(super) digest: Digest,
}

impl Record for Head {
    const VERSION: u8 = 1;
}

/// An open database.
pub(super) struct Engine {
    db: sled::Db,
    file: File,
    /// Held for writing from the first change of a group until it is durable, so that nobody
    /// reads what a power cut could take back.
    gate: RwLock<()>,
    failure: OnceLock<Arc<Failure>>,
    state: watch::Sender<StoreState>,
    room: Room,
    counting: Counting,
    /// Last, so that it is unlocked when all else is closed.
    _directory: Directory,
}

impl Engine {
    /// Reads what is durable.
    pub(super) fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        self.or_fail(guarded(doing, || read(&self.db)))
    }

    /// Applies `changes` and makes them durable. Only the writer calls it.
    pub(super) fn write(&self, changes: sled::Batch) -> Result<(), StoreError> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.or_fail(guarded("write a batch", || {
            self.db.apply_batch(changes)?;
            self.db.flush()
        }))?;
        // `flush` alone is `sync_file_range`, which a power cut does not know. A failed sync is
        // never tried again: the kernel may have dropped what it could not write.
        self.counting.syncs.fetch_add(1, Ordering::Relaxed);
        let synced = self.file.sync_data();
        self.or_fail(synced.map_err(|source| Failure::Io { doing: "sync the database", source }))
    }

    /// The outcome of something after whose failure nothing is believed.
    pub(super) fn or_fail<T>(&self, outcome: Result<T, Failure>) -> Result<T, StoreError> {
        outcome.map_err(|failure| StoreError::Failed(self.fail(failure)))
    }

    /// Fails if the store has failed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.failure.get() {
            None => Ok(()),
            Some(failure) => Err(StoreError::Failed(Arc::clone(failure))),
        }
    }

    /// Makes every later call fail, and says why: the first failure counts.
    pub(super) fn fail(&self, failure: Failure) -> Arc<Failure> {
        let failure = Arc::clone(self.failure.get_or_init(|| Arc::new(failure)));
        if self.state.send_replace(StoreState::Failed) == StoreState::Ready {
            tracing::error!(failure = ?failure, "the store has failed");
        }
        failure
    }

    pub(super) fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    /// Fails if too little space is left to write.
    pub(super) fn admit(&self) -> Result<(), StoreError> {
        let admitted = self.or_fail(self.room.admit().map_err(asking))?;
        admitted.map_err(|Full { free_bytes, floor_bytes }| StoreError::DiskFull {
            free_bytes,
            floor_bytes,
        })
    }

    pub(super) fn space(&self) -> Result<Space, StoreError> {
        self.or_fail(self.room.space().map_err(asking))
    }

    pub(super) fn counting(&self) -> &Counting {
        &self.counting
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("failure", &self.failure).finish_non_exhaustive()
    }
}

fn asking(source: io::Error) -> Failure {
    Failure::Io { doing: "ask for the free space of the store", source }
}

/// Opens and checks the store in `path`, or makes it.
pub(super) fn open(path: &Path, options: &Options) -> Result<(Engine, Head, Mark), OpenError> {
    let directory = Directory::lock(path)?;
    let room = Room::new(path, options.floor_bytes, options.reserve_bytes);
    // Gives up the reserve on a full disk: opening writes, and so does the work that makes room.
    if room.admit().map_err(OpenError::io("ask for the free space of", path))?.is_err() {
        tracing::error!(path = %path.display(), "the disk of the store is full");
    }
    let marker = directory.marker()?;
    let is_there = directory.database().join("db").exists();
    match (marker, is_there) {
        (None, false) => create(&directory, options)?,
        (Some(_), false) => {
            return Err(OpenError::damaged(path, "its database `sled/db` is gone"));
        }
        (_, true) => {}
    }

    // If it is locked even then, sled says so.
    release::wait(&directory.database().join("db"), RELEASE)
        .map_err(OpenError::io("wait for the database in", path))?;
    let db = open_sled(&directory.database(), options)
        .map_err(|failure| OpenError::engine(path, failure))?;
    let head = head(&directory, &db)?;
    let mark = check_mark(&directory, &head)?;
    check_digest(path, &db, &head)?;
    match directory.marker()? {
        None => directory.set_marker(head.store)?, // the power went just before it was written
        Some(id) if id == head.store => {}
        Some(_) => return Err(OpenError::damaged(path, "its database is another store's")),
    }
    let file_path = directory.database().join("db");
    let file = File::options()
        .write(true)
        .open(&file_path)
        .map_err(OpenError::io("open the database file", file_path))?;
    let engine = Engine {
        db,
        file,
        gate: RwLock::default(),
        failure: OnceLock::new(),
        state: watch::Sender::new(StoreState::Ready),
        room,
        counting: Counting::default(),
        _directory: directory,
    };
    Ok((engine, head, mark))
}

/// Makes an empty database beside, makes it durable, and gives it its name.
fn create(directory: &Directory, options: &Options) -> Result<(), OpenError> {
    let (draft, path) = (directory.draft(), directory.database());
    match fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove the half made database", draft)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let head = Head { store: Uuid::now_v7(), sequence: 0, digest: Digest::default() };
    let value = record::encode(HEAD, &head)
        .map_err(|error| OpenError::Foreign { path: path.clone(), what: error.to_string() })?;
    let made = open_sled(&draft, options).and_then(|db| {
        guarded("make the database", || {
            db.insert(HEAD, value)?;
            db.flush()
        })
    });
    made.map_err(|failure| OpenError::engine(&draft, failure))?;
    directory::sync_tree(&draft)?;
    Mark::create(&directory.mark(), 0)
        .map_err(OpenError::io("make the mark file", directory.mark()))?;
    fs::rename(&draft, &path).map_err(OpenError::io("name the database", path))?;
    directory.sync()
}

fn open_sled(path: &Path, options: &Options) -> Result<sled::Db, Failure> {
    guarded("open the database", || {
        sled::Config::new()
            .path(path)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(options.cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(Some(500))
            .open()
    })
}

/// The store's own record, which must be there: sled opens an emptied file without an error.
fn head(directory: &Directory, db: &sled::Db) -> Result<Head, OpenError> {
    let path = directory.path();
    let value = guarded("read the store's own record", || db.get(HEAD))
        .map_err(|failure| OpenError::engine(path, failure))?;
    let Some(value) = value else {
        return Err(OpenError::damaged(path, "its database is there, but it was emptied"));
    };
    record::decode(HEAD, &value).map_err(|error| {
        OpenError::damaged(path, format!("its own record cannot be read: {error}"))
    })
}

fn check_mark(directory: &Directory, head: &Head) -> Result<Mark, OpenError> {
    let path = directory.mark();
    let mark = Mark::open(&path).map_err(OpenError::io("open the mark file", &path))?;
    let Some(mark) = mark else {
        return Err(OpenError::damaged(directory.path(), "its file `store.mark` is gone"));
    };
    let number = mark.read().map_err(OpenError::io("read the mark file", &path))?;
    match number {
        None => Err(OpenError::damaged(directory.path(), "its file `store.mark` is unreadable")),
        Some(number) if number > head.sequence => Err(OpenError::damaged(
            directory.path(),
            format!(
                "its database ends with batch {}, and batch {number} was acknowledged",
                head.sequence
            ),
        )),
        Some(_) => Ok(mark),
    }
}

/// Reads everything, and compares it with what was written.
fn check_digest(path: &Path, db: &sled::Db, head: &Head) -> Result<(), OpenError> {
    let digest = guarded("read the database", || {
        let mut digest = Digest::default();
        for entry in db.iter() {
            let (key, value) = entry?;
            if key.as_ref() != HEAD {
                digest.add(&key, &value);
            }
        }
        Ok(digest)
    });
    let digest = digest.map_err(|failure| OpenError::engine(path, failure))?;
    if digest == head.digest {
        return Ok(());
    }
    Err(OpenError::damaged(path, "its entries are not those that were written last"))
}

fn guarded<T>(doing: &'static str, work: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Failure::Engine { doing, source }),
        Err(payload) => Err(Failure::panic(doing, payload.as_ref())),
    }
}

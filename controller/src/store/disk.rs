//! Disk store: the store that survives power cuts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::batch::Batch;
use super::engine::{self, Engine};
use super::error::{Failure, OpenError, StoreError};
use super::scan::{Entry, Order, Page, Scan};
use super::space::Space;
use super::writer::{Request, Writer};
use super::{Store, StoreState};

/// How many batches may wait for the writer: enough for some full groups.
const QUEUE: usize = 1024;

/// How a [`DiskStore`] uses memory and disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What sled keeps in memory, in bytes.
    pub cache_bytes: u64,
    /// The size of the file that is given up when the disk is full; 0 for none.
    pub reserve_bytes: u64,
    /// What is always left free: with less, commits are refused, since sled never recovers from
    /// a full disk. More than one segment of the database, which grows by 8 MiB.
    pub floor_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self { cache_bytes: 64 * MIB, reserve_bytes: 64 * MIB, floor_bytes: 32 * MIB }
    }
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches that were acknowledged.
    pub commits: u64,
    /// Batches that were refused because an expectation did not hold.
    pub conflicts: u64,
    /// Groups of batches that were written together.
    pub groups: u64,
    /// How often the database file was synced.
    pub syncs: u64,
}

/// [`Counters`] that are being counted.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) commits: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) syncs: AtomicU64,
}

/// The store that survives power cuts: sled, with the durability that sled alone does not have.
///
/// One thread writes. It takes all batches that wait (at most 256), checks their expectations,
/// applies them as one batch of sled, flushes, syncs the database file, and answers all.
pub struct DiskStore {
    engine: Arc<Engine>,
    id: Uuid,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl DiskStore {
    /// Opens the store in `directory`, or makes one where there was none. Reads all of it.
    /// Blocks: call it off the runtime, or before there is one.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] when another process uses the directory;
    /// [`OpenError::Damaged`] when anything that was acknowledged is not as it was.
    pub fn open(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        let (engine, head, mark) = engine::open(directory, options)?;
        let engine = Arc::new(engine);
        let id = head.store;
        let (requests, queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(Arc::clone(&engine), head, mark, queue);
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::io("start the writer of", directory))?;
        Ok(Self { engine, id, requests: Some(requests), writer: Some(writer) })
    }

    /// The id that the store got when it was made.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What it has done since it was opened.
    pub fn counters(&self) -> Counters {
        let counting = self.engine.counting();
        Counters {
            commits: counting.commits.load(Ordering::Relaxed),
            conflicts: counting.conflicts.load(Ordering::Relaxed),
            groups: counting.groups.load(Ordering::Relaxed),
            syncs: counting.syncs.load(Ordering::Relaxed),
        }
    }

    async fn read<T, F>(&self, doing: &'static str, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&sled::Db) -> sled::Result<T> + Send + 'static,
    {
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || engine.read(doing, read)).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => {
                let failure = Failure::panic(doing, error.into_panic().as_ref());
                Err(StoreError::Failed(self.engine.fail(failure)))
            }
            Err(_) => Err(StoreError::Closed), // the runtime is shutting down
        }
    }
}

#[async_trait]
impl Store for DiskStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key.first() == Some(&0) {
            return Ok(None);
        }
        let key = key.to_vec();
        let value = self.read("read a value", move |db| db.get(key)).await?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        let Some(bounds) = scan.bounds() else { return Ok(Page::default()) };
        self.read("scan values", move |db| {
            let entries = db.range::<Vec<u8>, _>(bounds).map(entry);
            match scan.order {
                Order::Ascending => Page::fill(scan.limit, entries),
                Order::Descending => Page::fill(scan.limit, entries.rev()),
            }
        })
        .await
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check().map_err(StoreError::Refused)?;
        self.engine.check()?;
        let Some(requests) = &self.requests else { return Err(StoreError::Closed) };
        let (answer, answered) = oneshot::channel();
        if requests.send(Request { batch, answer }).await.is_err() {
            return Err(self.engine.check().err().unwrap_or(StoreError::Closed));
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(self.engine.check().err().unwrap_or(StoreError::Closed)),
        }
    }

    fn state(&self) -> watch::Receiver<StoreState> {
        self.engine.state()
    }

    fn space(&self) -> Result<Space, StoreError> {
        self.engine.space()
    }
}

/// Waits for the batches that were taken, and lets go of the directory.
impl Drop for DiskStore {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the store panicked");
        }
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("id", &self.id).finish_non_exhaustive()
    }
}

fn entry(entry: sled::Result<(sled::IVec, sled::IVec)>) -> sled::Result<Entry> {
    let (key, value) = entry?;
    Ok(Entry { key: key.to_vec(), value: Bytes::copy_from_slice(&value) })
}

#[cfg(test)]
mod tests {
    use super::super::conformance::open;
    use super::super::{MAX_VALUE_BYTES, Reserve};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_commits_at_once_share_a_few_syncs() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let commits = (0..1000).map(|n| {
            let mut batch = Batch::new();
            batch.insert(format!("run/{n}"), "queued");
            store.commit(batch)
        });

        let outcomes = futures::future::join_all(commits).await;

        assert!(outcomes.iter().all(Result::is_ok));
        let counters = store.counters();
        assert_eq!((counters.commits, counters.conflicts), (1000, 0));
        assert_eq!(counters.groups, counters.syncs);
        assert!((4..=50).contains(&counters.syncs), "{counters:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_ever_put_in_files_that_nobody_syncs() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());

        for n in 0..200 {
            let mut batch = Batch::new();
            batch.put([1, n], vec![n; MAX_VALUE_BYTES]);
            store.commit(batch).await.unwrap();
        }
        drop(store);

        let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).unwrap();
        assert_eq!(blobs.count(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_keeps_its_id_and_its_files_are_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let options = Options { reserve_bytes: 1 << 20, floor_bytes: 0, ..Options::default() };
        let store = DiskStore::open(&path, &options).unwrap();
        let id = store.id();
        assert_eq!(store.space().unwrap().reserve, Reserve::Held);
        drop(store);

        let again = DiskStore::open(&path, &options).unwrap();

        assert_eq!(again.id(), id);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_was_half_made_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sled.new")).unwrap();
        std::fs::write(dir.path().join("sled.new/db"), "half").unwrap();

        let id = open(dir.path()).id();
        std::fs::remove_file(dir.path().join("store.id")).unwrap();

        assert_eq!(open(dir.path()).id(), id);
        assert!(dir.path().join("store.id").exists());
    }
}

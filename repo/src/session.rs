//! Session: one run's writing into a repository, on the side of whoever holds it.
//!
//! A session believes no report (H23): it opens each pack's own header. It alone writes indexes and
//! snapshots, and the snapshot is the last thing it writes.

mod commit;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt as _;

use crate::crypto::Cipher;
use crate::id::{BlobId, PackId};
use crate::lock::{Lock, LockError};
use crate::pack::{self, PackEntry, PackError, SealedPack, header};
use crate::repository::{Repository, RepositoryError};
use crate::sink::{PackSink, SinkError};
use crate::storage::{ObjectName, StorageError};

pub use commit::{CommitError, CommitRequest};

/// How many bytes from the end of a pack are read at first: most headers fit.
const TAIL: u64 = 64 << 10;

/// Why a pack is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Its bytes are not those that its name says.
    #[error("take pack {pack}: its content has another SHA-256")]
    Content {
        /// The pack.
        pack: PackId,
    },
    /// Its header does not say what was reported.
    #[error("take pack {pack}: its header lists other blobs than were reported")]
    Lie {
        /// The pack.
        pack: PackId,
    },
    /// It holds a blob that the repository had before this run.
    #[error("take pack {pack}: it holds blob {blob}, which the repository has already")]
    Known {
        /// The pack.
        pack: PackId,
        /// The blob.
        blob: BlobId,
    },
    /// Its header cannot be read.
    #[error("open the header of pack {pack}")]
    Header {
        /// The pack.
        pack: PackId,
        /// What is wrong with it.
        #[source]
        source: PackError,
    },
    /// The storage failed.
    #[error("reach pack {pack}")]
    Storage {
        /// The pack.
        pack: PackId,
        /// What it said.
        #[source]
        source: StorageError,
    },
}

impl ReportError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Storage { source, .. } if source.is_transient())
    }
}

/// One run's writing.
#[derive(Debug)]
pub struct Session {
    repository: Arc<Repository>,
    lock: Lock,
    /// How many packs the index had when the session began: their blobs may not come again.
    packs_before: usize,
    state: Mutex<State>,
}

/// What the session has taken.
#[derive(Debug, Default)]
struct State {
    packs: BTreeMap<PackId, Vec<PackEntry>>,
    blobs: HashSet<BlobId>,
}

impl Session {
    /// Begins a session under `lock`, which is kept until [`Self::end`].
    ///
    /// # Errors
    ///
    /// When the index cannot be brought up to date.
    pub async fn begin(
        repository: &Arc<Repository>,
        lock: Lock,
    ) -> Result<Arc<Self>, RepositoryError> {
        repository.refresh().await?;
        let packs_before = repository.with_index(|index| index.packs().count());
        let repository = Arc::clone(repository);
        Ok(Arc::new(Self { repository, lock, packs_before, state: Mutex::default() }))
    }

    /// The repository.
    pub const fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// The lock, to be refreshed every [`crate::lock::REFRESH_EVERY`].
    pub const fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Gives the lock back. What was not committed is left to a prune.
    ///
    /// # Errors
    ///
    /// As [`Lock::release`].
    pub async fn end(&self) -> Result<(), LockError> {
        self.lock.release().await
    }

    /// Which of `ids` the repository or this session has.
    pub fn known(&self, ids: &[BlobId]) -> Vec<bool> {
        let mut known =
            self.with(|state| ids.iter().map(|id| state.blobs.contains(id)).collect::<Vec<_>>());
        self.repository.with_index(|index| {
            for (known, id) in known.iter_mut().zip(ids) {
                *known = *known || index.contains(id);
            }
        });
        known
    }

    /// Takes a pack whose bytes are here: its content and its header are verified, then it is
    /// stored. The same pack twice is the same as once.
    ///
    /// # Errors
    ///
    /// [`ReportError::Content`], [`ReportError::Lie`] and [`ReportError::Known`] when it is not what
    /// it says it is; nothing is stored then.
    pub async fn put(&self, pack: SealedPack) -> Result<(), ReportError> {
        let id = pack.id;
        let cipher = self.repository.cipher().clone();
        let bytes = pack.bytes.clone();
        let judged = tokio::task::spawn_blocking(move || judge(&cipher, id, &bytes)).await;
        let found = match judged {
            Ok(judged) => judged?,
            Err(error) => return Err(storage_error(id, std::io::Error::other(error))),
        };
        self.admit(id, &found, &pack.entries)?;
        let created = self.repository.storage().create(ObjectName::Pack(id), pack.bytes).await;
        created.map_err(|source| ReportError::Storage { pack: id, source })?;
        self.remember(id, found);
        Ok(())
    }

    /// Takes a pack that is in the storage already, as one that an agent has put there with a grant.
    /// Its header is read from there and must say what was `claimed`.
    ///
    /// # Errors
    ///
    /// [`ReportError::Lie`] and [`ReportError::Known`]; [`ReportError::Storage`] when it is not
    /// there.
    pub async fn report(&self, pack: PackId, claimed: &[PackEntry]) -> Result<(), ReportError> {
        let found = self.stored_header(pack).await?;
        self.admit(pack, &found, claimed)?;
        self.remember(pack, found);
        Ok(())
    }

    /// The packs that the session has taken.
    pub fn packs(&self) -> Vec<PackId> {
        self.with(|state| state.packs.keys().copied().collect())
    }

    fn admit(
        &self,
        pack: PackId,
        found: &[PackEntry],
        claimed: &[PackEntry],
    ) -> Result<(), ReportError> {
        if found != claimed {
            return Err(ReportError::Lie { pack });
        }
        let known = self.repository.with_index(|index| {
            let before = |entry: &&PackEntry| index.is_among_first(&entry.id, self.packs_before);
            // A pack that a checkpoint of this very run has indexed is no stranger.
            found.iter().filter(|_| !index.contains_pack(&pack)).find(before).map(|entry| entry.id)
        });
        match known {
            None => Ok(()),
            Some(blob) => Err(ReportError::Known { pack, blob }),
        }
    }

    fn remember(&self, pack: PackId, entries: Vec<PackEntry>) {
        self.with(|state| {
            state.blobs.extend(entries.iter().map(|entry| entry.id));
            state.packs.insert(pack, entries);
        });
    }

    async fn stored_header(&self, pack: PackId) -> Result<Vec<PackEntry>, ReportError> {
        let storage = self.repository.storage();
        let name = ObjectName::Pack(pack);
        let failed = |source| ReportError::Storage { pack, source };
        let malformed = |source| ReportError::Header { pack, source };
        let size = storage.size(name).await.map_err(failed)?;
        let start = size.saturating_sub(TAIL);
        let tail = storage.read_range(name, start..size).await.map_err(failed)?;
        let range = header::header_range(size, &tail).map_err(malformed)?;
        let sealed = match range.start.checked_sub(start) {
            Some(skip) => {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                let end = tail.len().saturating_sub(header::TRAILER);
                tail.slice(skip.min(end)..end)
            }
            None => storage.read_range(name, range).await.map_err(failed)?,
        };
        pack::open_header(self.repository.cipher(), size, &sealed).map_err(malformed)
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the headers of `packs`, as many as are not remembered.
    async fn recall(&self, packs: &[PackId]) -> Result<(), ReportError> {
        let forgotten: Vec<_> = self.with(|state| {
            packs.iter().copied().filter(|pack| !state.packs.contains_key(pack)).collect()
        });
        let read = futures::stream::iter(forgotten)
            .map(|pack| async move { Ok((pack, self.stored_header(pack).await?)) });
        let mut read = read.buffer_unordered(8);
        while let Some(header) = read.next().await {
            let (pack, found) = header?;
            self.admit(pack, &found, &found)?;
            self.remember(pack, found);
        }
        Ok(())
    }
}

#[async_trait]
impl PackSink for Session {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        Ok(Self::known(self, ids))
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        let id = pack.id;
        self.put(pack).await.map_err(|error| {
            let transient = error.is_transient();
            SinkError::new(format!("put pack {id} into the repository"), error).transient(transient)
        })
    }
}

fn judge(cipher: &Cipher, id: PackId, bytes: &[u8]) -> Result<Vec<PackEntry>, ReportError> {
    if PackId::of(bytes) != id {
        return Err(ReportError::Content { pack: id });
    }
    pack::read_header(cipher, bytes).map_err(|source| ReportError::Header { pack: id, source })
}

fn storage_error(pack: PackId, error: std::io::Error) -> ReportError {
    let source = StorageError::from_io("verify a pack for", pack.to_string(), error);
    ReportError::Storage { pack, source }
}

//! Repository: storage, key and index of one stack's snapshots, held by the controller.

mod find;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::config::Config;
use crate::crypto::{Cipher, CryptoError, MasterKey};
use crate::id::{BlobId, ObjectId, PackId};
use crate::index::{BlobLocation, Index, IndexFile};
use crate::key::{self, Hardness, KeyError, KeyOwner};
use crate::lock::LockError;
use crate::snapshot::{Identified, Snapshot};
use crate::source::{PackSource, SourceError};
use crate::storage::{Kind, ObjectName, Storage, StorageError};
use crate::unpacked::{self, UnpackedError};

/// How many small objects are read at once.
const PARALLEL: usize = 8;

/// Why a repository was not made, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// There is one already.
    #[error("create a repository: there is one already; open it, or give another place")]
    Exists,
    /// The key files do not open it.
    #[error("open the repository")]
    Key(#[from] KeyError),
    /// A key cannot be made.
    #[error("make the key of a repository")]
    Crypto(#[source] CryptoError),
    /// An object of it cannot be read or stored.
    #[error("use the repository")]
    Object(#[from] UnpackedError),
    /// The storage failed.
    #[error("reach the repository")]
    Storage(#[from] StorageError),
    /// A lock is in the way, or ours is lost.
    #[error("lock the repository")]
    Lock(#[source] Box<LockError>),
    /// No snapshot is so named.
    #[error("find snapshot `{wanted}`: there is none; list the snapshots to see what there is")]
    NoSnapshot {
        /// What was asked for.
        wanted: String,
    },
    /// Several snapshots are so named.
    #[error("find snapshot `{wanted}`: it may be {}; give more digits", candidates.join(" or "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The ids that begin so.
        candidates: Vec<String>,
    },
}

impl RepositoryError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Storage(error) | Self::Key(KeyError::Storage(error)) => error.is_transient(),
            Self::Object(error) => error.is_transient(),
            Self::Exists
            | Self::Key(_)
            | Self::Crypto(_)
            | Self::Lock(_)
            | Self::NoSnapshot { .. }
            | Self::Ambiguous { .. } => false,
        }
    }
}

/// An open repository.
pub struct Repository {
    storage: Arc<dyn Storage>,
    master: MasterKey,
    cipher: Cipher,
    config: Config,
    pub(crate) index: RwLock<Index>,
    snapshots: Mutex<BTreeMap<ObjectId, Snapshot>>,
    /// Held while a session commits, so that a commit repeated meanwhile finds the first.
    pub(crate) commits: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("id", &self.config.id).finish_non_exhaustive()
    }
}

impl Repository {
    /// Makes a repository with a new random key in `storage`, openable with each of `passphrases`.
    ///
    /// The config is written last: without it there is no repository.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Exists`] when there is one.
    pub async fn create(
        storage: Arc<dyn Storage>,
        passphrases: &[(KeyOwner, SecretString)],
        hardness: Hardness,
        now: Timestamp,
    ) -> Result<Arc<Self>, RepositoryError> {
        match storage.size(ObjectName::Config).await {
            Err(StorageError::NotFound { .. }) => {}
            Ok(_) => return Err(RepositoryError::Exists),
            Err(error) => return Err(error.into()),
        }
        let master = MasterKey::generate().map_err(RepositoryError::Crypto)?;
        for (owner, passphrase) in passphrases {
            key::add(&*storage, &master, passphrase, owner, (now, hardness)).await?;
        }
        let config = Config::generate().map_err(RepositoryError::Crypto)?;
        config.create(&*storage, &Cipher::new(&master)).await?;
        Ok(Arc::new(Self::new(storage, master, config)))
    }

    /// Opens the repository in `storage` with `passphrase`, and loads its index.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Key`] with [`KeyError::WrongPassphrase`] when that is what it is.
    pub async fn open(
        storage: Arc<dyn Storage>,
        passphrase: &SecretString,
    ) -> Result<Arc<Self>, RepositoryError> {
        let (_, master) = key::open(&*storage, passphrase).await?;
        Self::open_with_key(storage, master).await
    }

    /// Opens the repository in `storage` with its master key, and loads its index.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Object`] when the key is another's, or an index is damaged.
    pub async fn open_with_key(
        storage: Arc<dyn Storage>,
        master: MasterKey,
    ) -> Result<Arc<Self>, RepositoryError> {
        let config = Config::read(&*storage, &Cipher::new(&master)).await?;
        let repository = Self::new(storage, master, config);
        repository.refresh().await?;
        Ok(Arc::new(repository))
    }

    fn new(storage: Arc<dyn Storage>, master: MasterKey, config: Config) -> Self {
        let cipher = Cipher::new(&master);
        Self {
            storage,
            master,
            cipher,
            config,
            index: RwLock::default(),
            snapshots: Mutex::default(),
            commits: tokio::sync::Mutex::default(),
        }
    }

    /// Its id, made by chance when it was.
    pub const fn id(&self) -> ObjectId {
        self.config.id
    }

    /// Its key: for writers and readers of this run, and nobody else.
    pub const fn master_key(&self) -> &MasterKey {
        &self.master
    }

    /// Where its objects are.
    pub const fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(crate) const fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    /// Looks into the index.
    pub fn with_index<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_index<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what others have changed since: new index files, and those that are gone.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Object`] when an index is damaged.
    pub async fn refresh(&self) -> Result<(), RepositoryError> {
        let listed: BTreeSet<_> =
            self.storage.list(Kind::Index).await?.into_iter().map(|object| object.id).collect();
        let loaded: BTreeSet<_> = self.with_index(|index| index.files().iter().copied().collect());
        let is_only_more = loaded.is_subset(&listed);
        let wanted: Vec<_> = if is_only_more {
            listed.difference(&loaded).copied().collect()
        } else {
            listed.into_iter().collect()
        };
        let files = self.index_files(wanted).await?;
        self.change_index(|index| {
            if !is_only_more {
                *index = Index::new();
            }
            for (id, file) in &files {
                index.insert_file(*id, file);
            }
        });
        Ok(())
    }

    /// Reads index files; what one of them replaces is left out.
    async fn index_files(
        &self,
        ids: Vec<ObjectId>,
    ) -> Result<Vec<(ObjectId, IndexFile)>, RepositoryError> {
        let read = futures::stream::iter(ids).map(|id| async move {
            let name = ObjectName::Index(id);
            match unpacked::read(&*self.storage, &self.cipher, name).await {
                Ok(json) => match IndexFile::from_json(&json) {
                    Ok(file) => Ok(Some((id, file))),
                    Err(error) => Err(UnpackedError::Format { name, source: error.into() }),
                },
                // Pruned between the listing and now.
                Err(UnpackedError::Storage(StorageError::NotFound { .. })) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let mut read = read.buffered(PARALLEL);
        let mut files = Vec::new();
        while let Some(file) = read.next().await {
            files.extend(file?);
        }
        let replaced: BTreeSet<_> =
            files.iter().flat_map(|(_, file)| file.supersedes.iter().copied()).collect();
        files.retain(|(id, _)| !replaced.contains(id));
        Ok(files)
    }

    /// Every snapshot, oldest first.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Object`] when one is damaged.
    pub async fn snapshots(&self) -> Result<Vec<Identified>, RepositoryError> {
        let listed = self.storage.list(Kind::Snapshot).await?;
        let read = futures::stream::iter(listed).map(|object| self.snapshot(object.id));
        let mut read = read.buffered(PARALLEL);
        let mut snapshots = Vec::new();
        while let Some(snapshot) = read.next().await {
            match snapshot {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(RepositoryError::NoSnapshot { .. }) => {} // forgotten meanwhile
                Err(error) => return Err(error),
            }
        }
        snapshots.sort_by_key(|one| (one.snapshot.time, one.id));
        Ok(snapshots)
    }

    /// The snapshot `id`.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::NoSnapshot`]; [`RepositoryError::Object`] when it is damaged.
    pub async fn snapshot(&self, id: ObjectId) -> Result<Identified, RepositoryError> {
        let cached = self.with_snapshots(|snapshots| snapshots.get(&id).cloned());
        if let Some(snapshot) = cached {
            return Ok(Identified { id, snapshot });
        }
        let name = ObjectName::Snapshot(id);
        let json = match unpacked::read(&*self.storage, &self.cipher, name).await {
            Ok(json) => json,
            Err(UnpackedError::Storage(StorageError::NotFound { .. })) => {
                return Err(RepositoryError::NoSnapshot { wanted: id.to_string() });
            }
            Err(error) => return Err(error.into()),
        };
        let snapshot: Snapshot = serde_json::from_slice(&json)
            .map_err(|error| UnpackedError::Format { name, source: error.into() })?;
        self.remember(id, snapshot.clone());
        Ok(Identified { id, snapshot })
    }

    pub(crate) fn remember(&self, id: ObjectId, snapshot: Snapshot) {
        self.with_snapshots(|snapshots| snapshots.insert(id, snapshot));
    }

    fn with_snapshots<T>(&self, look: impl FnOnce(&mut BTreeMap<ObjectId, Snapshot>) -> T) -> T {
        look(&mut self.snapshots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes the snapshot `id`. Its blobs stay until a prune.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Storage`] when the storage refuses.
    pub async fn forget(&self, id: ObjectId) -> Result<(), RepositoryError> {
        self.storage.delete(ObjectName::Snapshot(id)).await?;
        self.with_snapshots(|snapshots| snapshots.remove(&id));
        Ok(())
    }
}

#[async_trait]
impl PackSource for Repository {
    async fn locate(&self, ids: &[BlobId]) -> Result<Vec<Option<BlobLocation>>, SourceError> {
        Ok(self.with_index(|index| ids.iter().map(|id| index.locate(id)).collect()))
    }

    async fn read_pack(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, SourceError> {
        self.storage.read_range(ObjectName::Pack(pack), range).await.map_err(|error| {
            let transient = error.is_transient();
            SourceError::new(format!("read a part of pack {pack}"), error).transient(transient)
        })
    }
}

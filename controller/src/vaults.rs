//! Vaults: the repositories of this controller, made when a stack needs one, opened once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lazarette_core::{
    error::{Reason, ReasonedError},
    id::{FleetId, RepositoryId, StackId},
};
use lazarette_node::{backoff::Backoff, clock::Clock, durable};
use lazarette_repo::{
    key::{self, Hardness, KeyError, KeyOwner},
    lock::{self, Holder, Lock, LockError, LockMode},
    repository::{Repository, RepositoryError},
    storage::{StorageError, fs::FsStorage},
};
use tokio::sync::Mutex;

use crate::{
    secrets::Secrets,
    store::{
        Batch, Store, StoreError,
        repositories::{Repositories, Repository as Record},
        stacks::{Stack, Stacks},
    },
};

/// How long a writer waits for somebody else's exclusive lock.
const LOCK_PATIENCE: Duration = Duration::from_mins(10);
/// What a repository in the making is called until it is whole.
const MAKING: &str = "making";

/// A repository could not be made, opened or locked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is none with this id.
    #[error("find the repository {0}: this controller has none of that id")]
    Unknown(RepositoryId),
    /// The stack has no repository yet.
    #[error("find the repository of {0}: it has no snapshot yet; make one with `ctl backup`")]
    None(String),
    /// Another repository lies where this one should be.
    #[error(
        "open the repository {id} at `{}`: another repository ({found}) lies there; put the right \
         one back, or rebuild the catalog with `ctl catalog rebuild`",
        place.display()
    )]
    Another {
        /// Which.
        id: RepositoryId,
        /// Where.
        place: PathBuf,
        /// The id in its config.
        found: String,
    },
    /// It cannot be opened.
    #[error("open the repository at `{}`", place.display())]
    Open {
        /// Where.
        place: PathBuf,
        /// Why not.
        #[source]
        source: Box<RepositoryError>,
    },
    /// It cannot be made.
    #[error("make a repository at `{}`", place.display())]
    Make {
        /// Where.
        place: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else holds its lock.
    #[error("lock the repository {0}")]
    Lock(RepositoryId, #[source] Box<LockError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReasonedError for VaultError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unknown(_) | Self::None(_) => Reason::RepositoryUnknown,
            Self::Another { .. } => Reason::RepositoryDamaged,
            Self::Open { source, .. } => reason_of(source),
            Self::Make { source, .. } => {
                source.downcast_ref::<StorageError>().map_or(Reason::StorageUnavailable, of_storage)
            }
            Self::Lock(..) => Reason::RepositoryLocked,
            Self::Store(error) => error.reason(),
        }
    }
}

/// The reason in an error of a repository.
pub fn reason_of(error: &RepositoryError) -> Reason {
    match error {
        RepositoryError::Key(KeyError::WrongPassphrase { .. }) => Reason::KeyWrong,
        RepositoryError::Storage(error) | RepositoryError::Key(KeyError::Storage(error)) => {
            of_storage(error)
        }
        RepositoryError::Object(_) => Reason::RepositoryDamaged,
        RepositoryError::Lock(_) => Reason::RepositoryLocked,
        RepositoryError::NoSnapshot { .. } => Reason::SnapshotUnknown,
        RepositoryError::Ambiguous { .. } => Reason::SnapshotAmbiguous,
        RepositoryError::Exists | RepositoryError::Key(_) | RepositoryError::Crypto(_) => {
            Reason::StorageUnavailable
        }
    }
}

/// The reason in an error of a storage.
pub fn of_storage(error: &StorageError) -> Reason {
    match error {
        StorageError::Full { .. } => Reason::DiskFull,
        StorageError::NotFound { .. }
        | StorageError::Conflict { .. }
        | StorageError::Short { .. } => Reason::RepositoryDamaged,
        StorageError::Denied { .. }
        | StorageError::NotARepository { .. }
        | StorageError::Io { .. } => Reason::StorageUnavailable,
    }
}

/// The repositories of this controller.
#[derive(Debug)]
pub struct Vaults {
    directory: PathBuf,
    secrets: Secrets,
    store: Arc<dyn Store>,
    records: Repositories,
    stacks: Stacks,
    clock: Arc<dyn Clock>,
    holder: Holder,
    open: Mutex<HashMap<RepositoryId, Arc<Repository>>>,
}

impl Vaults {
    /// Those in `directory`. Nothing is opened yet; what a crash left in the making is removed.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn new(
        directory: &Path,
        fleet: FleetId,
        secrets: Secrets,
        store: &Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == MAKING) {
                std::fs::remove_dir_all(&path)?;
            }
        }
        let holder = Holder {
            hostname: "lazarette-controller".to_owned(),
            username: fleet.to_string(),
            pid: std::process::id(),
        };
        Ok(Self {
            directory: directory.to_owned(),
            secrets,
            store: Arc::clone(store),
            records: Repositories::new(Arc::clone(store)),
            stacks: Stacks::new(Arc::clone(store)),
            clock,
            holder,
            open: Mutex::default(),
        })
    }

    /// Where a repository lies.
    pub fn place(&self, id: RepositoryId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Where all of them lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What opens them.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Opens the repository `id`, or gives the open one.
    ///
    /// # Errors
    ///
    /// [`VaultError`]
    pub async fn open(&self, id: RepositoryId) -> Result<Arc<Repository>, VaultError> {
        let mut open = self.open.lock().await;
        if let Some(repository) = open.get(&id) {
            return Ok(Arc::clone(repository));
        }
        let record = self.records.get(id).await?.ok_or(VaultError::Unknown(id))?;
        let repository = self.open_at(&self.place(id), self.secrets.password(id).as_str()).await?;
        if repository.id().to_string() != record.format_id {
            let found = repository.id().to_string();
            return Err(VaultError::Another { id, place: self.place(id), found });
        }
        self.clear_own_locks(id, &repository).await?;
        open.insert(id, Arc::clone(&repository));
        Ok(repository)
    }

    /// Opens the repository in `place` with any of its passphrases.
    ///
    /// # Errors
    ///
    /// [`VaultError::Open`]
    pub async fn open_at(
        &self,
        place: &Path,
        passphrase: &str,
    ) -> Result<Arc<Repository>, VaultError> {
        let failed = |source: RepositoryError| VaultError::Open {
            place: place.to_owned(),
            source: Box::new(source),
        };
        let storage = FsStorage::open(place).map_err(|it| failed(it.into()))?;
        let passphrase = passphrase.to_owned().into();
        Repository::open(Arc::new(storage), &passphrase).await.map_err(failed)
    }

    /// The repository of `stack`, made now when it has none.
    ///
    /// # Errors
    ///
    /// [`VaultError`]
    pub async fn of_stack(
        &self,
        stack: StackId,
    ) -> Result<(RepositoryId, Arc<Repository>), VaultError> {
        let known = self.stacks.get(stack).await?;
        if let Some(id) = known.as_ref().and_then(|it: &Stack| it.repository) {
            return Ok((id, self.open(id).await?));
        }
        let record = self.make(stack).await?;
        let mut batch = Batch::new();
        self.records.add(&mut batch, &record)?;
        self.store.commit(batch).await?;
        let set = self.stacks.update(stack, |it| {
            it.repository.get_or_insert(record.id);
        });
        let chosen = set.await?.and_then(|it| it.repository).unwrap_or(record.id);
        Ok((chosen, self.open(chosen).await?))
    }

    /// Makes a repository beside, and puts it in its place when it is whole.
    async fn make(&self, stack: StackId) -> Result<Record, VaultError> {
        let id = RepositoryId::new();
        let place = self.place(id);
        let beside = self.directory.join(format!("{id}.{MAKING}"));
        let now = self.clock.now();
        let made = async {
            let storage = Arc::new(FsStorage::create(&beside)?);
            let password = self.secrets.password(id).to_string().into();
            let owners = [(self.owner("controller"), password)];
            let repository =
                Repository::create(storage.clone(), &owners, Hardness::DEFAULT, now).await?;
            let (master, recovery) = (repository.master_key(), self.secrets.recovery());
            let owner = self.owner("recovery");
            key::add_derived(&*storage, master, recovery, &owner, now).await?;
            std::fs::rename(&beside, &place)?;
            durable::sync_directory(&self.directory)?;
            Ok(repository.id().to_string())
        };
        let format_id = made.await.map_err(|source| VaultError::Make { place, source })?;
        Ok(Record { id, stack, format_id, created: now })
    }

    /// Adds this controller's own password to a repository that was opened by another.
    ///
    /// # Errors
    ///
    /// [`VaultError::Make`]
    pub async fn adopt(&self, id: RepositoryId, repository: &Repository) -> Result<(), VaultError> {
        let made = (self.clock.now(), Hardness::DEFAULT);
        let password = self.secrets.password(id).to_string().into();
        let owner = self.owner("controller");
        let storage = repository.storage();
        let added = key::add(&**storage, repository.master_key(), &password, &owner, made).await;
        added
            .map(drop)
            .map_err(|source| VaultError::Make { place: self.place(id), source: Box::new(source) })
    }

    /// A shared lock on `repository`; waits for, and names, a foreign exclusive one (H26).
    ///
    /// # Errors
    ///
    /// [`VaultError::Lock`] when it is still there after ten minutes.
    pub async fn lock(
        &self,
        id: RepositoryId,
        repository: &Arc<Repository>,
        waiting: impl Fn(&LockError),
    ) -> Result<Lock, VaultError> {
        let since = tokio::time::Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let mut chance = fastrand::Rng::new();
        loop {
            let now = self.clock.now();
            match Lock::acquire(repository, LockMode::Shared, &self.holder, now).await {
                Ok(lock) => return Ok(lock),
                Err(error @ LockError::Held { .. }) if since.elapsed() < LOCK_PATIENCE => {
                    waiting(&error);
                    tokio::time::sleep(backoff.next_delay(&mut chance)).await;
                }
                Err(error) => return Err(VaultError::Lock(id, Box::new(error))),
            }
        }
    }

    async fn clear_own_locks(
        &self,
        id: RepositoryId,
        repository: &Repository,
    ) -> Result<(), VaultError> {
        let removed = lock::remove_own(repository, &self.holder).await;
        let removed = removed.map_err(|source| VaultError::Lock(id, Box::new(source)))?;
        for lock in removed {
            tracing::info!(repository = %id, lock = %lock.id, "removed a lock left by a crash");
        }
        Ok(())
    }

    fn owner(&self, username: &str) -> KeyOwner {
        KeyOwner { username: username.to_owned(), hostname: self.holder.hostname.clone() }
    }
}

//! Lock: restic's lock objects, so that plain restic and we do not get in each other's way.
//!
//! Writers hold a shared lock, a prune an exclusive one. A lock is refreshed every few minutes by
//! whoever owns it; one that nobody refreshed for half an hour counts as gone.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::id::ObjectId;
use crate::repository::{Repository, RepositoryError};
use crate::storage::{Kind, ObjectName, StorageError};
use crate::unpacked::{self, UnpackedError};

/// After this time without a refresh a lock counts as gone, as in restic.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// How often the owner of a lock should refresh it.
pub const REFRESH_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Others with a shared one: for writers and readers.
    Shared,
    /// Nobody: for a prune.
    Exclusive,
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The host.
    pub hostname: String,
    /// The user there; a controller uses a name of its own, so that it knows its locks again.
    pub username: String,
    /// The process there.
    pub pid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} (process {})", self.username, self.hostname, self.pid)
    }
}

/// A lock as it is in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockInfo {
    /// Its id.
    pub id: ObjectId,
    /// When it was last refreshed.
    pub time: Timestamp,
    /// Who else may hold one.
    pub mode: LockMode,
    /// Who holds it.
    pub holder: Holder,
}

impl LockInfo {
    /// Whether nobody has refreshed it for too long at `now`.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.duration_since(self.time) > STALE_AFTER
    }
}

/// Why a lock was not taken or kept.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds one that does not suffer ours.
    #[error(
        "lock the repository: {} holds it{} since {}; wait, or remove it with `restic unlock` \
         when that process is gone",
        by.holder,
        if by.mode == LockMode::Exclusive { " for itself alone" } else { "" },
        by.time
    )]
    Held {
        /// The lock in the way.
        by: Box<LockInfo>,
    },
    /// Ours has vanished: somebody took it for stale.
    #[error("refresh a lock of the repository: it was removed by somebody else")]
    Lost,
    /// An object cannot be read or stored.
    #[error("reach the locks of the repository")]
    Object(#[from] UnpackedError),
    /// The storage failed.
    #[error("reach the locks of the repository")]
    Storage(#[from] StorageError),
}

#[derive(Serialize, Deserialize)]
struct LockJson {
    time: Timestamp,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
}

/// A lock that we hold. Dropping it leaves it in the repository: [`Lock::release`] it.
#[must_use = "a lock that is not released stays in the repository for half an hour"]
pub struct Lock {
    repository: Arc<Repository>,
    mode: LockMode,
    holder: Holder,
    id: Mutex<ObjectId>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("repository", &self.repository.id())
            .field("mode", &self.mode)
            .field("holder", &self.holder)
            .field("id", &self.id())
            .finish()
    }
}

impl Lock {
    /// Takes a lock for `holder`. It is looked again after it was written, so that of two who come
    /// at once at most one has it.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] with the lock in the way; the caller waits and asks again.
    pub async fn acquire(
        repository: &Arc<Repository>,
        mode: LockMode,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<Self, LockError> {
        in_the_way(repository, mode, None, now).await?;
        let id = write(repository, mode, holder, now).await?;
        let lock = Self {
            repository: Arc::clone(repository),
            mode,
            holder: holder.clone(),
            id: id.into(),
        };
        match in_the_way(repository, mode, Some(id), now).await {
            Ok(()) => Ok(lock),
            Err(error) => {
                lock.release().await?;
                Err(error)
            }
        }
    }

    /// Its id, which each refresh changes.
    pub fn id(&self) -> ObjectId {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes it anew with the time `now`.
    ///
    /// # Errors
    ///
    /// [`LockError::Lost`] when somebody removed it: stop, what it guarded may have changed.
    pub async fn refresh(&self, now: Timestamp) -> Result<(), LockError> {
        let old = self.id();
        match self.repository.storage().size(ObjectName::Lock(old)).await {
            Ok(_) => {}
            Err(StorageError::NotFound { .. }) => return Err(LockError::Lost),
            Err(error) => return Err(error.into()),
        }
        let new = write(&self.repository, self.mode, &self.holder, now).await?;
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(self.repository.storage().delete(ObjectName::Lock(old)).await?)
    }

    /// Takes it away.
    ///
    /// # Errors
    ///
    /// [`LockError::Storage`]; it is stale half an hour later.
    pub async fn release(&self) -> Result<(), LockError> {
        Ok(self.repository.storage().delete(ObjectName::Lock(self.id())).await?)
    }
}

/// Every lock in the repository; one that cannot be read is an error.
///
/// # Errors
///
/// [`LockError::Object`] and [`LockError::Storage`].
pub async fn list(repository: &Repository) -> Result<Vec<LockInfo>, LockError> {
    let mut locks = Vec::new();
    for object in repository.storage().list(Kind::Lock).await? {
        match read(repository, object.id).await {
            Ok(lock) => locks.push(lock),
            // Released, or refreshed under another name, since it was listed.
            Err(UnpackedError::Storage(StorageError::NotFound { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(locks)
}

/// Removes the locks of `holder`'s host and user, whatever the process, and returns them.
///
/// For a controller that starts: it is the only one of its name, so what bears it is left over.
///
/// # Errors
///
/// [`LockError::Object`] and [`LockError::Storage`].
pub async fn remove_own(
    repository: &Repository,
    holder: &Holder,
) -> Result<Vec<LockInfo>, LockError> {
    let mut locks = list(repository).await?;
    locks.retain(|lock| {
        lock.holder.hostname == holder.hostname && lock.holder.username == holder.username
    });
    for lock in &locks {
        repository.storage().delete(ObjectName::Lock(lock.id)).await?;
    }
    Ok(locks)
}

async fn in_the_way(
    repository: &Repository,
    mode: LockMode,
    own: Option<ObjectId>,
    now: Timestamp,
) -> Result<(), LockError> {
    let locks = list(repository).await?;
    let refuses = |lock: &LockInfo| {
        let alone = mode == LockMode::Exclusive || lock.mode == LockMode::Exclusive;
        alone && Some(lock.id) != own && !lock.is_stale(now)
    };
    match locks.into_iter().find(refuses) {
        None => Ok(()),
        Some(by) => Err(LockError::Held { by: Box::new(by) }),
    }
}

async fn write(
    repository: &Repository,
    mode: LockMode,
    holder: &Holder,
    time: Timestamp,
) -> Result<ObjectId, UnpackedError> {
    let json = LockJson {
        time,
        exclusive: mode == LockMode::Exclusive,
        hostname: holder.hostname.clone(),
        username: holder.username.clone(),
        pid: holder.pid,
    };
    let json = serde_json::to_vec(&json)
        .map_err(|error| UnpackedError::Seal { folder: "locks", source: error.into() })?;
    unpacked::create(&**repository.storage(), repository.cipher(), Kind::Lock, &json).await
}

async fn read(repository: &Repository, id: ObjectId) -> Result<LockInfo, UnpackedError> {
    let name = ObjectName::Lock(id);
    let json = unpacked::read(&**repository.storage(), repository.cipher(), name).await?;
    let json: LockJson = serde_json::from_slice(&json)
        .map_err(|error| UnpackedError::Format { name, source: error.into() })?;
    let mode = if json.exclusive { LockMode::Exclusive } else { LockMode::Shared };
    let holder = Holder { hostname: json.hostname, username: json.username, pid: json.pid };
    Ok(LockInfo { id, time: json.time, mode, holder })
}

impl From<LockError> for RepositoryError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Object(error) => Self::Object(error),
            LockError::Storage(error) => Self::Storage(error),
            other @ (LockError::Held { .. } | LockError::Lost) => Self::Lock(Box::new(other)),
        }
    }
}

//! Storage: objects under names that follow from their content, created once and never changed.
//!
//! Backends are [`fs`] and [`memory`]; an object store and an agent's grant are others. All of them
//! pass [`conformance`].

pub mod conformance;
pub mod fs;
pub mod memory;

use std::fmt;
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{ObjectId, PackId};

/// The kinds of objects that a repository has many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Key files: the master key sealed with a passphrase.
    Key,
    /// Packs of blobs.
    Pack,
    /// Indexes: which blob is where.
    Index,
    /// Snapshots.
    Snapshot,
    /// Locks.
    Lock,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Key, Self::Pack, Self::Index, Self::Snapshot, Self::Lock];

    /// The folder of this kind in a restic repository.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Pack => "data",
            Self::Index => "index",
            Self::Snapshot => "snapshots",
            Self::Lock => "locks",
        }
    }
}

/// The name of an object in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    /// The one object whose name does not follow from its content.
    Config,
    /// A key file.
    Key(ObjectId),
    /// A pack.
    Pack(PackId),
    /// An index.
    Index(ObjectId),
    /// A snapshot.
    Snapshot(ObjectId),
    /// A lock.
    Lock(ObjectId),
}

impl ObjectName {
    /// The object of `kind` whose content has the SHA-256 `id`.
    pub const fn of(kind: Kind, id: ObjectId) -> Self {
        match kind {
            Kind::Key => Self::Key(id),
            Kind::Pack => Self::Pack(PackId::new(*id.as_bytes())),
            Kind::Index => Self::Index(id),
            Kind::Snapshot => Self::Snapshot(id),
            Kind::Lock => Self::Lock(id),
        }
    }

    /// The SHA-256 that the content must have; the config may have any.
    pub const fn digest(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Config => None,
            Self::Pack(id) => Some(id.as_bytes()),
            Self::Key(id) | Self::Index(id) | Self::Snapshot(id) | Self::Lock(id) => {
                Some(id.as_bytes())
            }
        }
    }
}

/// The path of the object below the root of a restic repository, as `data/ab/abcd…`.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Pack(id) => {
                let id = id.to_string();
                write!(f, "data/{}/{id}", id.get(..2).unwrap_or_default())
            }
            Self::Key(id) => write!(f, "keys/{id}"),
            Self::Index(id) => write!(f, "index/{id}"),
            Self::Snapshot(id) => write!(f, "snapshots/{id}"),
            Self::Lock(id) => write!(f, "locks/{id}"),
        }
    }
}

/// An object as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its id within its kind.
    pub id: ObjectId,
    /// Its size in bytes.
    pub size: u64,
}

/// What creating an object found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// There was no such object; it is durable now.
    New,
    /// The same content was there already.
    AlreadyThere,
}

/// Where the objects of one repository are.
///
/// What `create` has acknowledged survives a loss of power. Objects are never changed: creating one
/// again with the same content is `AlreadyThere`, with other content an error.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Makes `name` with `content`, durably, without ever replacing what is there.
    ///
    /// # Errors
    ///
    /// [`StorageError::Conflict`] when `name` exists with other content; [`StorageError::Full`],
    /// [`StorageError::Denied`] and [`StorageError::Io`] when the store cannot take it. After an
    /// error nothing of it can be seen.
    async fn create(&self, name: ObjectName, content: Bytes) -> Result<Created, StorageError>;

    /// The whole content of `name`.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`] when there is no such object.
    async fn read(&self, name: ObjectName) -> Result<Bytes, StorageError>;

    /// The bytes `range` of `name`, exactly so many.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`] when there is no such object, [`StorageError::Short`] when it ends
    /// before the range does.
    async fn read_range(&self, name: ObjectName, range: Range<u64>) -> Result<Bytes, StorageError>;

    /// The size of `name` in bytes.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`] when there is no such object.
    async fn size(&self, name: ObjectName) -> Result<u64, StorageError>;

    /// Every object of `kind`, ordered by id. What is not named like an object is left out.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked; never for an empty kind.
    async fn list(&self, kind: Kind) -> Result<Vec<Listed>, StorageError>;

    /// Takes `name` away. An object that is not there is no error: it is gone.
    ///
    /// # Errors
    ///
    /// When the store refuses or cannot be asked.
    async fn delete(&self, name: ObjectName) -> Result<(), StorageError>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("find `{name}` in the repository")]
    NotFound {
        /// The missing object.
        name: ObjectName,
    },
    /// The object exists with other content.
    #[error("create `{name}`: it exists with other content")]
    Conflict {
        /// The object in question.
        name: ObjectName,
    },
    /// The object ends too early.
    #[error("read `{name}` up to byte {wanted}: it has {size} bytes only")]
    Short {
        /// The object in question.
        name: ObjectName,
        /// The byte that the caller wanted to reach.
        wanted: u64,
        /// The size that it has.
        size: u64,
    },
    /// No space is left.
    #[error("{doing} `{place}`: no space is left; free some there and repeat")]
    Full {
        /// What was done.
        doing: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store does not let us.
    #[error("{doing} `{place}`: access is denied; check owner and mode")]
    Denied {
        /// What was done.
        doing: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The place is no repository, or holds something else.
    #[error("open a repository at `{place}`: {reason}")]
    NotARepository {
        /// Where.
        place: String,
        /// What is wrong there, and the way out.
        reason: &'static str,
    },
    /// Anything else that the system said.
    #[error("{doing} `{place}`")]
    Io {
        /// What was done.
        doing: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// The error of `doing` something at `place`, sorted by what the system said.
    pub fn from_io(doing: &'static str, place: impl Into<String>, source: io::Error) -> Self {
        let place = place.into();
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ) {
            return Self::Full { doing, place, source };
        }
        if matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            return Self::Denied { doing, place, source };
        }
        Self::Io { doing, place, source }
    }

    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::Interrupted
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::WouldBlock
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            ),
            Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Short { .. }
            | Self::Full { .. }
            | Self::Denied { .. }
            | Self::NotARepository { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_sorted_by_what_can_be_done_about_it() {
        let of = |kind| StorageError::from_io("write", "/srv/x", io::Error::from(kind));

        assert!(matches!(of(io::ErrorKind::StorageFull), StorageError::Full { .. }));
        assert!(matches!(of(io::ErrorKind::QuotaExceeded), StorageError::Full { .. }));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), StorageError::Denied { .. }));
        assert!(matches!(of(io::ErrorKind::ReadOnlyFilesystem), StorageError::Denied { .. }));
        assert!(of(io::ErrorKind::TimedOut).is_transient());
        assert!(!of(io::ErrorKind::StorageFull).is_transient());
        assert!(of(io::ErrorKind::StorageFull).to_string().contains("`/srv/x`: no space is left"));
    }

    #[test]
    fn objects_are_where_restic_has_them() {
        let id = ObjectId::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

        let paths = Kind::ALL.map(|kind| ObjectName::of(kind, id).to_string());

        assert_eq!(paths[1], format!("data/ba/{hex}"));
        assert_eq!([&paths[0], &paths[3]], [&format!("keys/{hex}"), &format!("snapshots/{hex}")]);
        assert_eq!(ObjectName::Config.to_string(), "config");
    }
}

//! Store errors: why the store could not do what it was asked.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lazarette_core::error::{Reason, ReasonedError};

use super::batch::BatchError;
use super::record::RecordError;

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No store could take this batch.
    #[error("check a batch for the store")]
    Refused(#[source] BatchError),
    /// Somebody else changed a key first; nothing of the batch was applied.
    #[error("change `{key}` in the store: it has changed in the meantime")]
    Conflict {
        /// The first key whose expectation did not hold.
        key: KeyText,
    },
    /// Too little space is left; nothing of the batch was applied.
    #[error(
        "write to the store: {free_bytes} bytes are free on its disk and {floor_bytes} must \
         stay free; make room, then try again"
    )]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What is never used.
        floor_bytes: u64,
    },
    /// The store no longer works in this process.
    #[error("use the store, which has failed; the controller must be started again")]
    Failed(#[source] Arc<Failure>),
    /// The store was closed.
    #[error("use the store, which was closed")]
    Closed,
    /// What is stored cannot be understood.
    #[error("read the record `{key}`")]
    Record {
        /// Where it is.
        key: KeyText,
        /// What is wrong with it.
        #[source]
        source: Arc<RecordError>,
    },
}

impl StoreError {
    /// Whether the same call can succeed later without anybody restarting anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::DiskFull { .. } => true,
            Self::Refused(_) | Self::Failed(_) | Self::Closed | Self::Record { .. } => false,
        }
    }

    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

impl ReasonedError for StoreError {
    fn reason(&self) -> Reason {
        match self {
            Self::DiskFull { .. } => Reason::DiskFull,
            Self::Refused(_)
            | Self::Conflict { .. }
            | Self::Failed(_)
            | Self::Closed
            | Self::Record { .. } => Reason::StoreFailed,
        }
    }
}

/// The first error of the disk, or below, after which nothing is believed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The engine said so.
    #[error("{doing}")]
    Engine {
        /// What we were doing.
        doing: &'static str,
        /// What the engine said.
        #[source]
        source: sled::Error,
    },
    /// The file system said so.
    #[error("{doing}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The engine gave up in a way that can leave it half done.
    #[error("{doing}: the engine panicked: {message}")]
    Panic {
        /// What we were doing.
        doing: &'static str,
        /// What it said.
        message: String,
    },
}

impl Failure {
    pub(super) fn panic(doing: &'static str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Self::Panic { doing, message }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of the store could not be made, read or synced.
    #[error("{doing} `{path}`")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("open the store in `{path}`: another controller runs on this directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The store was made by a newer version, or by something else.
    #[error("open the store in `{path}`: {what}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// What was acknowledged is not all there, or not as it was.
    #[error(
        "open the store in `{path}`: {what}; it is not used, so that nothing is overwritten: \
         put a copy of the directory back, or move it away and start with \
         `ctl catalog rebuild`, which reads the repositories again"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What the engine said, if it said anything.
        #[source]
        source: Option<Failure>,
    },
}

impl OpenError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into(), source: None }
    }

    pub(super) fn engine(path: &Path, failure: Failure) -> Self {
        let what = "its database cannot be read".to_owned();
        Self::Damaged { path: path.to_owned(), what, source: Some(failure) }
    }
}

/// A key as people can read it: bytes that are not printable ASCII as `\xNN`, at most 80 of them.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    pub(super) fn of(key: &[u8]) -> Self {
        const SHOWN: usize = 80;
        let mut text = String::new();
        for byte in key.iter().take(SHOWN) {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
        if key.len() > SHOWN {
            text.push('…');
        }
        Self(text)
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

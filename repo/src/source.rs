//! Source: whoever gives a reader the packs, in this process or over a wire.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{BlobId, PackId};
use crate::index::BlobLocation;

/// Tells where blobs are, and gives parts of packs. Neither is trusted: the reader hashes each blob.
#[async_trait]
pub trait PackSource: fmt::Debug + Send + Sync + 'static {
    /// Where each of `ids` is, in the same order; `None` for one that the repository has not.
    ///
    /// # Errors
    ///
    /// When the source cannot be asked.
    async fn locate(&self, ids: &[BlobId]) -> Result<Vec<Option<BlobLocation>>, SourceError>;

    /// The bytes `range` of `pack`, exactly so many.
    ///
    /// # Errors
    ///
    /// When the source cannot give them, after whatever retries it makes itself.
    async fn read_pack(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, SourceError>;
}

/// Why a source did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct SourceError {
    doing: String,
    transient: bool,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// The error of `doing` something, because of `source`.
    pub fn new(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { doing: doing.into(), transient: false, source: Some(source.into()) }
    }

    /// The error of `doing` something, with nothing behind it.
    pub fn plain(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), transient: false, source: None }
    }

    /// The same error, marked as one that may not come again.
    #[must_use]
    pub fn transient(self, transient: bool) -> Self {
        Self { transient, ..self }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

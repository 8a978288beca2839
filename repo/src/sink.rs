//! Sink: whoever takes a writer's packs, in this process or over a wire.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;

use crate::id::BlobId;
use crate::pack::SealedPack;

/// Takes packs and knows which blobs need not be written again.
#[async_trait]
pub trait PackSink: fmt::Debug + Send + Sync + 'static {
    /// Which of `ids` the repository has, in the same order. Asked in batches, a few hundred at most.
    ///
    /// # Errors
    ///
    /// When the sink cannot be asked. The writer gives up.
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError>;

    /// Takes `pack`; returning means that it is durable. The same pack twice is the same as once.
    ///
    /// # Errors
    ///
    /// When the sink cannot take it, after whatever retries it makes itself. The writer gives up.
    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError>;
}

/// Why a sink did not answer or take a pack.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct SinkError {
    doing: String,
    transient: bool,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
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

//! Reader: blobs, files and directories out of a [`PackSource`], every one of them hashed again.
//!
//! Neighbouring blobs are read together, several such ranges ahead of whoever consumes them.

mod blobs;
mod plan;
mod walk;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Handle;

use crate::crypto::{Cipher, MasterKey};
use crate::id::{BlobId, PackId};
use crate::index::BlobLocation;
use crate::pack::blob::Opener;
use crate::pack::{BlobKind, PackError};
use crate::source::{PackSource, SourceError};
use crate::tree::{Tree, TreeError};

pub use blobs::Blobs;
pub use walk::{Entry, Walk};

/// How a reader works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderOptions {
    /// How many threads read, open and hash.
    pub threads: usize,
    /// How many ranges of about 4 MiB are in memory at once, besides what is being written.
    pub ahead: usize,
}

impl Default for ReaderOptions {
    /// As many threads as there are processors, four at most, and two more ranges than threads.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = processors.clamp(1, 4);
        Self { threads, ahead: threads + 2 }
    }
}

/// Why something was not read. Nothing that is wrong is ever given out instead.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No pack has the blob.
    #[error("read blob {blob}: the repository has it in no pack")]
    Missing {
        /// The blob.
        blob: BlobId,
    },
    /// The blob is damaged.
    #[error("read blob {blob} in pack {pack}")]
    Damaged {
        /// The blob.
        blob: BlobId,
        /// The pack that holds it.
        pack: PackId,
        /// What is wrong.
        #[source]
        source: PackError,
    },
    /// The pack of the blob cannot be read.
    #[error("read blob {blob} in pack {pack}")]
    Pack {
        /// The blob.
        blob: BlobId,
        /// The pack that holds it.
        pack: PackId,
        /// What the source said.
        #[source]
        source: SourceError,
    },
    /// The source does not say where blobs are.
    #[error("ask where blobs are")]
    Locate(#[source] SourceError),
    /// A directory is none.
    #[error("read directory {blob}")]
    Tree {
        /// The blob.
        blob: BlobId,
        /// What is wrong.
        #[source]
        source: TreeError,
    },
    /// Something in a file or directory cannot be read.
    #[error("read `{path}` of a snapshot")]
    At {
        /// Its path.
        path: String,
        /// Why not.
        #[source]
        source: Box<ReadError>,
    },
    /// What was read cannot be written.
    #[error("write what was read from the repository")]
    Write(#[source] std::io::Error),
    /// A thread of the reader is gone, or the system gives none.
    #[error("go on reading: a thread of the reader has ended")]
    Gone,
}

impl ReadError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Pack { source, .. } | Self::Locate(source) => source.is_transient(),
            Self::At { source, .. } => source.is_transient(),
            Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Tree { .. }
            | Self::Write(_)
            | Self::Gone => false,
        }
    }

    /// The same error, with the path of what was read.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Self {
        Self::At { path: path.into(), source: Box::new(self) }
    }
}

/// Reads from one repository; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    cipher: Cipher,
    source: Arc<dyn PackSource>,
    runtime: Handle,
    options: ReaderOptions,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader with `key` from `source`, on `runtime`, which must run on threads of its own.
    pub fn new(
        key: &MasterKey,
        source: Arc<dyn PackSource>,
        runtime: Handle,
        options: ReaderOptions,
    ) -> Self {
        Self { cipher: Cipher::new(key), source, runtime, options }
    }

    /// The blobs `ids`, in this order, read ahead of the caller.
    pub fn blobs(&self, ids: Vec<BlobId>) -> Blobs {
        Blobs::start(self, ids)
    }

    /// Writes a file's content, the blobs `content`, to `out`, and returns its size.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: what was written before it is right as far as it goes, but not the whole.
    pub async fn read(
        &self,
        content: &[BlobId],
        out: &mut (impl AsyncWrite + Send + Unpin + ?Sized),
    ) -> Result<u64, ReadError> {
        if let [only] = content {
            let plain = self.load(*only, BlobKind::Data).await?;
            out.write_all(&plain).await.map_err(ReadError::Write)?;
            return Ok(size(&plain));
        }
        let mut written = 0;
        let mut blobs = self.blobs(content.to_vec());
        while let Some(plain) = blobs.next().await {
            let plain = plain?;
            out.write_all(plain).await.map_err(ReadError::Write)?;
            written += size(plain);
        }
        Ok(written)
    }

    /// [`Self::read`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_blocking(
        &self,
        content: &[BlobId],
        out: &mut (impl Write + ?Sized),
    ) -> Result<u64, ReadError> {
        if let [only] = content {
            let plain = self.runtime.block_on(self.load(*only, BlobKind::Data))?;
            out.write_all(&plain).map_err(ReadError::Write)?;
            return Ok(size(&plain));
        }
        let mut written = 0;
        let mut blobs = self.blobs(content.to_vec());
        while let Some(plain) = blobs.next_blocking() {
            let plain = plain?;
            out.write_all(plain).map_err(ReadError::Write)?;
            written += size(plain);
        }
        Ok(written)
    }

    /// The directory `id`.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::Tree`] when the blob is no directory, or one with names that
    /// would lead out of it.
    pub async fn tree(&self, id: BlobId) -> Result<Tree, ReadError> {
        let plain = self.load(id, BlobKind::Tree).await?;
        Tree::from_json(&plain).map_err(|source| ReadError::Tree { blob: id, source })
    }

    /// [`Self::tree`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::tree`].
    pub fn tree_blocking(&self, id: BlobId) -> Result<Tree, ReadError> {
        self.runtime.block_on(self.tree(id))
    }

    /// One blob of `kind`.
    async fn load(&self, id: BlobId, kind: BlobKind) -> Result<Vec<u8>, ReadError> {
        let located = self.source.locate(&[id]).await.map_err(ReadError::Locate)?;
        let place = located.first().copied().flatten().filter(|place| place.kind == kind);
        let place = place.ok_or(ReadError::Missing { blob: id })?;
        let start = u64::from(place.offset);
        let range = start..start + u64::from(place.length);
        let sealed = self.source.read_pack(place.pack, range).await;
        let mut sealed = sealed
            .map_err(|source| ReadError::Pack { blob: id, pack: place.pack, source })?
            .to_vec();
        open(&mut Opener::new(self.cipher.clone()), id, &place, &mut sealed, Vec::new())
    }
}

/// Opens one blob, into `plain`.
fn open(
    opener: &mut Result<Opener, PackError>,
    id: BlobId,
    place: &BlobLocation,
    sealed: &mut [u8],
    plain: Vec<u8>,
) -> Result<Vec<u8>, ReadError> {
    let damaged = |source| ReadError::Damaged { blob: id, pack: place.pack, source };
    let wanted = usize::try_from(place.length).unwrap_or(usize::MAX);
    if sealed.len() != wanted {
        return Err(damaged(PackError::Content { id }));
    }
    let Ok(opener) = opener else { return Err(ReadError::Gone) };
    opener.open(&place.entry(id), sealed, plain).map_err(damaged)
}

fn size(plain: &[u8]) -> u64 {
    u64::try_from(plain.len()).unwrap_or(u64::MAX)
}

//! Pack: sealed blobs one after another, then a sealed header that lists them, then its length.

pub(crate) mod blob;
pub(crate) mod builder;
pub(crate) mod header;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::crypto::CryptoError;
use crate::id::{BlobId, PackId};

pub use header::{open_header, read_header};

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// A directory.
    Tree,
}

/// A blob as the header of its pack, and any index, lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackEntry {
    /// The SHA-256 of its plain content.
    pub id: BlobId,
    /// What it holds.
    pub kind: BlobKind,
    /// Its first byte within the pack.
    pub offset: u32,
    /// How many bytes it takes in the pack, sealed.
    pub length: u32,
    /// The size of its plain content when it is compressed; `None` when it is stored as it is.
    pub uncompressed: Option<u32>,
}

impl PackEntry {
    /// The size of its plain content in bytes.
    pub fn plain_size(&self) -> u32 {
        let overhead = u32::try_from(crate::crypto::OVERHEAD).unwrap_or(0);
        self.uncompressed.unwrap_or_else(|| self.length.saturating_sub(overhead))
    }
}

/// A whole pack, ready to be stored.
#[derive(Clone)]
pub struct SealedPack {
    /// Its id, the SHA-256 of `bytes`.
    pub id: PackId,
    /// All of it.
    pub bytes: Bytes,
    /// What its header lists, in the order of the offsets.
    pub entries: Vec<PackEntry>,
}

impl fmt::Debug for SealedPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedPack")
            .field("id", &self.id)
            .field("size", &self.bytes.len())
            .field("entries", &self.entries.len())
            .finish()
    }
}

/// Why a pack was not made or understood.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The header is not where the last four bytes say, or is no list of blobs.
    #[error("read the header of a pack of {size} bytes: {reason}")]
    Header {
        /// The size of the pack.
        size: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The header, or a blob, cannot be opened or sealed.
    #[error("open a part of a pack")]
    Crypto(#[source] CryptoError),
    /// A blob cannot be compressed or does not decompress.
    #[error("{doing} a blob")]
    Zstd {
        /// Whether it was compressed or decompressed.
        doing: &'static str,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// A blob is not what its id says.
    #[error("read blob {id}: its content has another SHA-256")]
    Content {
        /// The id that it should have.
        id: BlobId,
    },
    /// A blob is larger than the format allows.
    #[error("store a blob of {size} bytes: it is too large")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// What was sealed did not open to what was given: this machine's memory or processor errs.
    #[error("verify blob {id} before it is stored: it differs from what was read")]
    Verify {
        /// The id of the blob.
        id: BlobId,
    },
}

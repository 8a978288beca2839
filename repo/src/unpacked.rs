//! Unpacked objects: indexes, snapshots and locks, each sealed JSON under its own name.

use bytes::Bytes;

use crate::crypto::{Cipher, CryptoError};
use crate::id::ObjectId;
use crate::storage::{Kind, ObjectName, Storage, StorageError};

/// What the first byte of compressed content is; JSON itself begins with `{` or `[`.
const COMPRESSED: u8 = 2;

/// The most that such an object may hold once it is decompressed.
const LIMIT: usize = 1 << 30;

/// Why such an object was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum UnpackedError {
    /// The storage failed.
    #[error("reach the repository")]
    Storage(#[from] StorageError),
    /// It is damaged, or sealed with another key.
    #[error("open `{name}`")]
    Crypto {
        /// The object.
        name: ObjectName,
        /// What is wrong with it.
        #[source]
        source: CryptoError,
    },
    /// It is not what its name says.
    #[error("read `{name}`: its content has another SHA-256: it is damaged")]
    Damaged {
        /// The object.
        name: ObjectName,
    },
    /// It holds something else.
    #[error("decode `{name}`")]
    Format {
        /// The object.
        name: ObjectName,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be sealed.
    #[error("seal an object for {folder}")]
    Seal {
        /// Where it should go.
        folder: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl UnpackedError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_transient())
    }
}

/// Stores `json` as an object of `kind` and returns its id.
pub(crate) async fn create(
    storage: &dyn Storage,
    cipher: &Cipher,
    kind: Kind,
    json: &[u8],
) -> Result<ObjectId, UnpackedError> {
    let (id, sealed) = seal(cipher, kind, json)?;
    storage.create(ObjectName::of(kind, id), sealed).await?;
    Ok(id)
}

fn seal(cipher: &Cipher, kind: Kind, json: &[u8]) -> Result<(ObjectId, Bytes), UnpackedError> {
    let folder = kind.folder();
    let mut plain = vec![COMPRESSED];
    let packed = zstd::bulk::compress(json, 3)
        .map_err(|source| UnpackedError::Seal { folder, source: source.into() })?;
    plain.extend_from_slice(&packed);
    let sealed = cipher
        .seal(&plain)
        .map_err(|source| UnpackedError::Seal { folder, source: source.into() })?;
    Ok((ObjectId::of(&sealed), sealed.into()))
}

/// The JSON in the object `name`.
pub(crate) async fn read(
    storage: &dyn Storage,
    cipher: &Cipher,
    name: ObjectName,
) -> Result<Vec<u8>, UnpackedError> {
    let sealed = storage.read(name).await?;
    if name.digest().is_some_and(|digest| *digest != crate::hash::sha256(&sealed)) {
        return Err(UnpackedError::Damaged { name });
    }
    let plain = cipher.open(&sealed).map_err(|source| UnpackedError::Crypto { name, source })?;
    let format = |source| UnpackedError::Format { name, source };
    match plain.split_first() {
        Some((&COMPRESSED, packed)) => decompress(packed).map_err(|source| format(source.into())),
        Some((b'{' | b'[', _)) => Ok(plain),
        _ => Err(format("it begins with a byte that says nothing".into())),
    }
}

fn decompress(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;

    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    let mut plain = Vec::new();
    zstd::stream::read::Decoder::new(packed)?.take(limit).read_to_end(&mut plain)?;
    Ok(plain)
}

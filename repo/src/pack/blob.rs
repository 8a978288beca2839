//! Blob: one sealed piece of a pack, opened, decompressed and hashed again.

use zstd::bulk::Decompressor;

use crate::crypto::Cipher;
use crate::id::BlobId;
use crate::pack::{PackEntry, PackError};

/// The most that a blob may hold: directories can be large, but memory is to be trusted to nobody.
pub(crate) const LIMIT: usize = 256 << 20;

/// The plain content of the blob `entry`, whose bytes in the pack are `sealed`.
///
/// # Errors
///
/// [`PackError::Crypto`], [`PackError::Zstd`] and [`PackError::Content`]: it is damaged.
pub(crate) fn open(
    cipher: &Cipher,
    entry: &PackEntry,
    sealed: &mut [u8],
) -> Result<Vec<u8>, PackError> {
    Opener::new(cipher.clone())?.open(entry, sealed, Vec::new())
}

/// Opens blobs, one after another.
pub(crate) struct Opener {
    cipher: Cipher,
    zstd: Decompressor<'static>,
}

impl Opener {
    /// One that opens with `cipher`.
    pub(crate) fn new(cipher: Cipher) -> Result<Self, PackError> {
        let zstd = Decompressor::new()
            .map_err(|source| PackError::Zstd { doing: "decompress", source })?;
        Ok(Self { cipher, zstd })
    }

    /// The plain content of the blob `entry`, in `plain`, whose content before is lost. It is
    /// hashed again: what this returns is what the id says.
    pub(crate) fn open(
        &mut self,
        entry: &PackEntry,
        sealed: &mut [u8],
        plain: Vec<u8>,
    ) -> Result<Vec<u8>, PackError> {
        let plain = self.decode(entry, sealed, plain)?;
        if BlobId::of(&plain) != entry.id {
            return Err(PackError::Content { id: entry.id });
        }
        Ok(plain)
    }

    /// The same without the hash, for a caller who compares otherwise.
    pub(crate) fn decode(
        &mut self,
        entry: &PackEntry,
        sealed: &mut [u8],
        mut plain: Vec<u8>,
    ) -> Result<Vec<u8>, PackError> {
        let opened = self.cipher.open_in_place(sealed).map_err(PackError::Crypto)?;
        plain.clear();
        let Some(size) = entry.uncompressed else {
            plain.extend_from_slice(opened);
            return Ok(plain);
        };
        let size_of = usize::try_from(size).unwrap_or(usize::MAX);
        if size_of > LIMIT {
            return Err(PackError::TooLarge { size: size_of });
        }
        plain.reserve(size_of);
        match self.zstd.decompress_to_buffer(opened, &mut plain) {
            Ok(_) if u32::try_from(plain.len()) == Ok(size) => Ok(plain),
            Ok(_) => Err(PackError::Content { id: entry.id }),
            Err(source) => Err(PackError::Zstd { doing: "decompress", source }),
        }
    }
}

//! Builder: a pack in the making, blobs compressed and sealed one after another.

use zstd::bulk::Compressor;

use crate::crypto::{Cipher, IV_SIZE, OVERHEAD, TAG_SIZE};
use crate::hash::Hasher;
use crate::id::{BlobId, PackId};
use crate::pack::blob::Opener;
use crate::pack::{BlobKind, PackEntry, PackError, SealedPack, header};

/// How many blobs a pack has at most: their headers are read as a whole.
const MAX_ENTRIES: usize = 10_000;

/// How packs are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// What the blobs hold.
    pub(crate) kind: BlobKind,
    /// The size after which a pack is finished.
    pub(crate) target: usize,
    /// zstd's level.
    pub(crate) level: i32,
    /// Whether each blob is opened again and compared before it is kept.
    pub(crate) verify: bool,
}

/// A pack in the making; after each pack the next.
pub(crate) struct PackBuilder {
    recipe: Recipe,
    cipher: Cipher,
    zstd: Compressor<'static>,
    opener: Opener,
    bytes: Vec<u8>,
    hasher: Hasher,
    entries: Vec<PackEntry>,
    /// What is reused from blob to blob: compressed, sealed again and opened again.
    packed: Vec<u8>,
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl PackBuilder {
    /// An empty one.
    pub(crate) fn new(cipher: &Cipher, recipe: Recipe) -> Result<Self, PackError> {
        let zstd = Compressor::new(recipe.level)
            .map_err(|source| PackError::Zstd { doing: "compress", source })?;
        Ok(Self {
            recipe,
            cipher: cipher.clone(),
            zstd,
            opener: Opener::new(cipher.clone())?,
            bytes: Vec::new(),
            hasher: Hasher::default(),
            entries: Vec::new(),
            packed: Vec::new(),
            sealed: Vec::new(),
            opened: Vec::new(),
        })
    }

    /// Adds the blob `id` with the content `plain`, and returns how many bytes it takes. Whether the
    /// pack is to be finished now is for [`Self::is_full`] to say.
    pub(crate) fn add(&mut self, id: BlobId, plain: &[u8]) -> Result<usize, PackError> {
        let too_large = PackError::TooLarge { size: plain.len() };
        let Ok(plain_size) = u32::try_from(plain.len()) else { return Err(too_large) };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.zstd
            .compress_to_buffer(plain, &mut self.packed)
            .map_err(|source| PackError::Zstd { doing: "compress", source })?;
        let is_smaller = self.packed.len() < plain.len();
        let content = if is_smaller { self.packed.as_slice() } else { plain };
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.recipe.target + (2 << 20));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; IV_SIZE]);
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(&[0; TAG_SIZE]);
        let length = content.len() + OVERHEAD;
        let (Ok(offset), Ok(length)) = (u32::try_from(start), u32::try_from(length)) else {
            return Err(too_large);
        };
        let uncompressed = is_smaller.then_some(plain_size);
        let entry = PackEntry { id, kind: self.recipe.kind, offset, length, uncompressed };
        let (_, sealed) = self.bytes.split_at_mut(start);
        self.cipher.seal_in_place(sealed).map_err(PackError::Crypto)?;
        self.hasher.update(sealed);
        if self.recipe.verify {
            self.sealed.clear();
            self.sealed.extend_from_slice(sealed);
            let opened = std::mem::take(&mut self.opened);
            self.opened = self.opener.decode(&entry, &mut self.sealed, opened)?;
            if self.opened != plain {
                return Err(PackError::Verify { id });
            }
        }
        self.entries.push(entry);
        Ok(content.len() + OVERHEAD)
    }

    /// Whether it has reached its size.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.recipe.target || self.entries.len() >= MAX_ENTRIES
    }

    /// The pack, unless nothing is in it.
    pub(crate) fn finish(&mut self) -> Result<Option<SealedPack>, PackError> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        let mut plain = Vec::with_capacity(self.entries.len() * 41);
        for entry in &self.entries {
            header::push_entry(&mut plain, entry);
        }
        let sealed = self.cipher.seal(&plain).map_err(PackError::Crypto)?;
        let length = u32::try_from(sealed.len())
            .map_err(|_too_large| PackError::TooLarge { size: sealed.len() })?
            .to_le_bytes();
        for part in [sealed.as_slice(), &length] {
            self.hasher.update(part);
            self.bytes.extend_from_slice(part);
        }
        let id = PackId::new(self.hasher.finish());
        let bytes = std::mem::take(&mut self.bytes).into();
        let entries = std::mem::take(&mut self.entries);
        Ok(Some(SealedPack { id, bytes, entries }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::MasterKey;
    use crate::pack;

    fn builder(cipher: &Cipher) -> PackBuilder {
        let recipe = Recipe { kind: BlobKind::Data, target: 1 << 20, level: 3, verify: true };
        PackBuilder::new(cipher, recipe).unwrap()
    }

    #[test]
    fn an_empty_builder_makes_no_pack() {
        let cipher = Cipher::new(&MasterKey::generate().unwrap());

        assert!(builder(&cipher).finish().unwrap().is_none());
    }

    #[test]
    fn another_key_opens_no_header() {
        let cipher = Cipher::new(&MasterKey::generate().unwrap());
        let mut builder = builder(&cipher);
        builder.add(BlobId::of(b"abc"), b"abc").unwrap();
        let made = builder.finish().unwrap().unwrap();

        let other = Cipher::new(&MasterKey::generate().unwrap());

        assert!(matches!(pack::read_header(&other, &made.bytes), Err(PackError::Crypto(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_blob_comes_back_and_the_header_tells_of_it(
            blobs in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..3000), 1..12),
        ) {
            let cipher = Cipher::new(&MasterKey::generate().unwrap());
            let mut builder = builder(&cipher);
            for blob in &blobs {
                builder.add(BlobId::of(blob), blob).unwrap();
            }

            let made = builder.finish().unwrap().unwrap();

            prop_assert_eq!(made.id, PackId::of(&made.bytes));
            prop_assert_eq!(&pack::read_header(&cipher, &made.bytes).unwrap(), &made.entries);
            for (entry, blob) in made.entries.iter().zip(&blobs) {
                let start = usize::try_from(entry.offset).unwrap();
                let end = start + usize::try_from(entry.length).unwrap();
                let mut sealed = made.bytes[start..end].to_vec();
                let opened = pack::blob::open(&cipher, entry, &mut sealed).unwrap();
                prop_assert_eq!(&opened, blob);
                prop_assert_eq!(usize::try_from(entry.plain_size()).unwrap(), blob.len());
            }
        }

        #[test]
        fn a_cut_or_changed_pack_is_an_error_and_no_panic(
            cut in any::<prop::sample::Index>(),
            changed in any::<prop::sample::Index>(),
        ) {
            let cipher = Cipher::new(&MasterKey::from_bytes(&[5; 64]).unwrap());
            let mut builder = builder(&cipher);
            builder.add(BlobId::of(b"abc"), b"abc").unwrap();
            let made = builder.finish().unwrap().unwrap();

            let cut = cut.index(made.bytes.len());
            prop_assert!(pack::read_header(&cipher, &made.bytes[..cut]).is_err());

            let header = made.bytes.len() - 4 - 37 - OVERHEAD;
            let mut bytes = made.bytes.to_vec();
            let position = header + changed.index(bytes.len() - header);
            bytes[position] ^= 0x10;
            prop_assert!(pack::read_header(&cipher, &bytes).is_err());
        }
    }
}

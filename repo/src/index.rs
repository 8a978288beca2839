//! Index: which blob is where. In memory a map, in the repository sealed files of JSON.

pub(crate) mod file;

use std::collections::HashMap;

use crate::id::{BlobId, ObjectId, PackId};
use crate::pack::{BlobKind, PackEntry};

pub use file::{IndexFile, MAX_BLOBS};

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLocation {
    /// The pack that holds it.
    pub pack: PackId,
    /// What it holds.
    pub kind: BlobKind,
    /// Its first byte within the pack.
    pub offset: u32,
    /// How many bytes it takes in the pack, sealed.
    pub length: u32,
    /// The size of its plain content when it is compressed.
    pub uncompressed: Option<u32>,
}

impl BlobLocation {
    /// Where `entry` of `pack` is.
    pub const fn new(pack: PackId, entry: &PackEntry) -> Self {
        Self {
            pack,
            kind: entry.kind,
            offset: entry.offset,
            length: entry.length,
            uncompressed: entry.uncompressed,
        }
    }

    /// The entry that `id` has in the header of this pack.
    pub const fn entry(&self, id: BlobId) -> PackEntry {
        PackEntry {
            id,
            kind: self.kind,
            offset: self.offset,
            length: self.length,
            uncompressed: self.uncompressed,
        }
    }
}

/// The blobs of a repository, in memory: about 64 bytes each.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
    blobs: HashMap<BlobId, Slot>,
    files: Vec<ObjectId>,
}

/// A location, with the pack as a number to save memory.
#[derive(Debug, Clone, Copy)]
struct Slot {
    pack: u32,
    offset: u32,
    length: u32,
    /// Zero when the blob is not compressed: no compressed blob is empty.
    uncompressed: u32,
    kind: BlobKind,
}

impl Index {
    /// An index of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many blobs it has.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Where `id` is.
    pub fn locate(&self, id: &BlobId) -> Option<BlobLocation> {
        let slot = self.blobs.get(id)?;
        let pack = *self.packs.get(usize::try_from(slot.pack).ok()?)?;
        let uncompressed = (slot.uncompressed != 0).then_some(slot.uncompressed);
        let Slot { kind, offset, length, .. } = *slot;
        Some(BlobLocation { pack, kind, offset, length, uncompressed })
    }

    /// Whether it has `id`.
    pub fn contains(&self, id: &BlobId) -> bool {
        self.blobs.contains_key(id)
    }

    /// Whether it has `id` in one of the first `packs` packs that it was given.
    pub(crate) fn is_among_first(&self, id: &BlobId, packs: usize) -> bool {
        let number = self.blobs.get(id).map(|slot| usize::try_from(slot.pack));
        number.is_some_and(|number| number.is_ok_and(|number| number < packs))
    }

    /// Whether it has `pack`.
    pub fn contains_pack(&self, pack: &PackId) -> bool {
        self.numbers.contains_key(pack)
    }

    /// Every pack that it has, in no order.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.packs.iter().copied()
    }

    /// Every blob with its location, in no order.
    pub fn blobs(&self) -> impl Iterator<Item = (BlobId, BlobLocation)> {
        self.blobs.keys().filter_map(|id| Some((*id, self.locate(id)?)))
    }

    /// The index files that it was made of.
    pub fn files(&self) -> &[ObjectId] {
        &self.files
    }

    /// Takes in what `pack` holds. A blob that is known already stays where it is.
    pub fn insert(&mut self, pack: PackId, entries: &[PackEntry]) {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(pack).or_insert(next);
        if number == next {
            self.packs.push(pack);
        }
        for entry in entries {
            let slot = Slot {
                pack: number,
                offset: entry.offset,
                length: entry.length,
                uncompressed: entry.uncompressed.unwrap_or(0),
                kind: entry.kind,
            };
            self.blobs.entry(entry.id).or_insert(slot);
        }
    }

    /// Takes in an index file. What it marks for deletion is not taken in: it may go any time.
    pub fn insert_file(&mut self, id: ObjectId, file: &IndexFile) {
        self.files.push(id);
        for (pack, entries) in &file.packs {
            self.insert(*pack, entries);
        }
    }
}

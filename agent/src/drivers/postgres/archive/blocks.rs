//! The data blocks of a custom-format archive: rows of tables, and large objects.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{
    ArchiveError, LargeObjects, newlines,
    toc::{Cursor, Entry, Layout},
};

/// What ends the data of a table.
const END_OF_COPY: &[u8] = b"\\.\n\n\n";

/// A reader of the blocks that follow the table of contents.
#[derive(Debug)]
pub(super) struct Blocks {
    layout: Layout,
    /// Entries whose data has not come yet.
    awaited: BTreeMap<i64, Entry>,
    place: Place,
    /// The beginning of a number that came in two pieces.
    pending: Vec<u8>,
    rows: BTreeMap<(String, String), u64>,
    large_objects: LargeObjects,
}

/// What is read next.
#[derive(Debug)]
enum Place {
    /// The beginning of a block, or the end of the archive.
    Between,
    /// The id of a large object, or the zero after the last one.
    ObjectId(Entry),
    /// The length of a chunk, or the zero after the last one.
    ChunkLength(Content),
    /// So many bytes more of a chunk.
    Chunk(Content, u64),
}

/// What the chunks that are read belong to.
#[derive(Debug)]
enum Content {
    Table { entry: Entry, lines: u64, tail: Tail },
    Object { within: Entry, oid: i64, bytes: u64 },
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Tail([u8; END_OF_COPY.len()]);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let size = self.0.len();
        let kept = bytes.get(bytes.len().saturating_sub(size)..).unwrap_or_default();
        self.0.rotate_left(kept.len());
        if let Some(place) = self.0.get_mut(size - kept.len()..) {
            place.copy_from_slice(kept);
        }
    }
}

impl Blocks {
    pub(super) fn new(layout: Layout, awaited: BTreeMap<i64, Entry>) -> Self {
        Self {
            layout,
            awaited,
            place: Place::Between,
            pending: Vec::new(),
            rows: BTreeMap::new(),
            large_objects: LargeObjects::default(),
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            if let Place::Chunk(content, left) = &mut self.place {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let (chunk, rest) = bytes.split_at(here);
                content.take(chunk);
                *left -= u64::try_from(here).unwrap_or(*left);
                bytes = rest;
                if *left == 0 {
                    self.end_of_chunk();
                }
                continue;
            }
            let (number, rest) = bytes.split_at(self.wanted().min(bytes.len()));
            self.pending.extend_from_slice(number);
            bytes = rest;
            if self.wanted() == 0 {
                let number = std::mem::take(&mut self.pending);
                self.step(&number)?;
            }
        }
        Ok(())
    }

    /// How many bytes more the number at this place has.
    fn wanted(&self) -> usize {
        let kind = usize::from(matches!(self.place, Place::Between));
        (kind + 1 + self.layout.int_bytes).saturating_sub(self.pending.len())
    }

    fn end_of_chunk(&mut self) {
        self.place = match std::mem::replace(&mut self.place, Place::Between) {
            Place::Chunk(content, _) => Place::ChunkLength(content),
            other @ (Place::Between | Place::ObjectId(_) | Place::ChunkLength(_)) => other,
        };
    }

    /// Goes on with a whole number, after the kind of block when one begins.
    fn step(&mut self, number: &[u8]) -> Result<(), ArchiveError> {
        let mut cursor = Cursor::new(number);
        let place = std::mem::replace(&mut self.place, Place::Between);
        let kind = if matches!(place, Place::Between) { cursor.byte() } else { None };
        let number = cursor.int(self.layout).unwrap_or(-1);
        self.place = match place {
            Place::Between => self.begin(kind, number)?,
            Place::ObjectId(_within) if number == 0 => Place::Between,
            Place::ObjectId(within) => {
                Place::ChunkLength(Content::Object { within, oid: number, bytes: 0 })
            }
            Place::ChunkLength(content) if number == 0 => self.end(content)?,
            Place::ChunkLength(content) | Place::Chunk(content, _) => {
                let length = u64::try_from(number);
                let length = length
                    .map_err(|_negative| ArchiveError::Malformed("a chunk of negative length"))?;
                Place::Chunk(content, length)
            }
        };
        Ok(())
    }

    fn begin(&mut self, kind: Option<u8>, dump_id: i64) -> Result<Place, ArchiveError> {
        let entry = self.awaited.remove(&dump_id);
        let entry = entry.ok_or(ArchiveError::Malformed("a block that nothing announced"))?;
        match kind {
            Some(1) => {
                Ok(Place::ChunkLength(Content::Table { entry, lines: 0, tail: Tail::default() }))
            }
            Some(3) => Ok(Place::ObjectId(entry)),
            _ => Err(ArchiveError::Malformed("a block of an unknown kind")),
        }
    }

    fn end(&mut self, content: Content) -> Result<Place, ArchiveError> {
        match content {
            Content::Table { entry, lines, tail } => {
                if tail.0 != END_OF_COPY {
                    return Err(ArchiveError::Malformed("the rows of a table without their end"));
                }
                self.rows.insert((entry.schema, entry.tag), lines.saturating_sub(3));
                Ok(Place::Between)
            }
            Content::Object { within, oid, bytes } => {
                self.large_objects.add(oid, bytes);
                Ok(Place::ObjectId(within))
            }
        }
    }

    /// What came, if nothing is missing.
    #[expect(clippy::type_complexity, reason = "taken apart at once by the only caller")]
    pub(super) fn finish(
        self,
    ) -> Result<(BTreeMap<(String, String), u64>, LargeObjects), ArchiveError> {
        if !matches!(self.place, Place::Between) || !self.pending.is_empty() {
            return Err(ArchiveError::Cut { after: self.place.shown() });
        }
        if let Some(entry) = self.awaited.values().next() {
            return Err(ArchiveError::Missing(entry.shown()));
        }
        Ok((self.rows, self.large_objects))
    }
}

impl Content {
    fn take(&mut self, chunk: &[u8]) {
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        match self {
            Self::Table { lines, tail, .. } => {
                *lines += newlines(chunk);
                tail.push(chunk);
            }
            Self::Object { bytes, .. } => *bytes += count(chunk.len()),
        }
    }
}

impl LargeObjects {
    fn add(&mut self, oid: i64, bytes: u64) {
        let hash = Sha256::digest(format!("{oid}:{bytes}"));
        let first = hash.iter().take(6).fold(0, |sum, byte| (sum << 8) | u128::from(*byte));
        self.count += 1;
        self.digest += first;
    }
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::Between => "the beginning of a block".to_owned(),
            Self::ObjectId(entry) => entry.shown(),
            Self::ChunkLength(content) | Self::Chunk(content, _) => match content {
                Content::Table { entry, lines, .. } => {
                    format!("{lines} lines of {}", entry.shown())
                }
                Content::Object { oid, .. } => format!("a part of large object {oid}"),
            },
        }
    }
}

impl Entry {
    fn shown(&self) -> String {
        format!("{} {}.{}", self.description, self.schema, self.tag)
    }
}

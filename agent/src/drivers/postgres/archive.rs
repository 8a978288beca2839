//! Archive: a custom-format dump, read as it passes, and what it holds.
//!
//! `pg_restore --list` accepts an archive that was cut to a fifth (M11): it reads the table of
//! contents only. This reader follows every block to its end, so an archive is whole when
//! [`Archive::finish`] says so: the bytes end at the end of a block, and each entry that
//! announced data has had it. On the way it counts rows and large objects (H7).

use std::collections::BTreeMap;

use self::{
    blocks::Blocks,
    toc::{Cursor, Entry, Layout},
};

mod blocks;
mod toc;

/// What was in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Rows of each table whose data is in it, by schema and name.
    pub(super) rows: BTreeMap<(String, String), u64>,
    /// Large objects whose data is in it.
    pub(super) large_objects: LargeObjects,
    /// Entries of its table of contents.
    pub(super) entries: u64,
}

/// How many large objects there are, and a digest of their ids and sizes in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LargeObjects {
    pub(super) count: u64,
    /// The sum, over all, of the first 48 bits of SHA-256 of `oid:bytes`.
    pub(super) digest: u128,
}

/// The archive is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// Its bytes make no sense.
    #[error("the dump is not a whole custom-format archive: {0}")]
    Malformed(&'static str),
    /// It ended early.
    #[error("the dump ends in the middle, after {after}")]
    Cut {
        /// What was read last.
        after: String,
    },
    /// Entries announced data that never came.
    #[error("the dump has no data for {0}")]
    Missing(String),
    /// A format that this version does not know.
    #[error("the dump has format {major}.{minor}; 1.12 to 1.16 are known")]
    Version {
        /// First part of the format's version.
        major: u8,
        /// Second part.
        minor: u8,
    },
    /// Its rows cannot be counted.
    #[error("the dump is compressed although it was asked not to be")]
    Compressed,
}

/// How many lines end in `bytes`.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    // A sum of bytes that are 0 or 1 is what the compiler makes fast.
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// A reader that is fed with an archive piece by piece.
#[derive(Debug)]
pub(super) struct Archive {
    stage: Stage,
    /// Read, but not yet understood. Only while in header and table of contents.
    pending: Vec<u8>,
    entries: BTreeMap<i64, Entry>,
    entry_count: u64,
}

#[derive(Debug)]
enum Stage {
    Header,
    Toc { layout: Layout, left: u64 },
    Blocks(Box<Blocks>),
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Header, pending: Vec::new(), entries: BTreeMap::new(), entry_count: 0 }
    }

    /// Reads the next piece.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if let Stage::Blocks(blocks) = &mut self.stage {
            return blocks.feed(bytes);
        }
        self.pending.extend_from_slice(bytes);
        let read = self.read_head()?;
        let rest = self.pending.split_off(read);
        self.pending = rest;
        if let Stage::Blocks(blocks) = &mut self.stage {
            let rest = std::mem::take(&mut self.pending);
            return blocks.feed(&rest);
        }
        Ok(())
    }

    /// Reads as much of header and table of contents as is there, and says how many bytes.
    fn read_head(&mut self) -> Result<usize, ArchiveError> {
        let mut read = 0;
        loop {
            let mut cursor = Cursor::new(self.pending.get(read..).unwrap_or_default());
            match &mut self.stage {
                Stage::Header => {
                    let Some((layout, left)) = toc::header(&mut cursor)? else { return Ok(read) };
                    self.entry_count = left;
                    self.stage = Stage::Toc { layout, left };
                }
                Stage::Toc { layout, left: 0 } => {
                    let entries = std::mem::take(&mut self.entries);
                    self.stage = Stage::Blocks(Box::new(Blocks::new(*layout, entries)));
                    return Ok(read);
                }
                Stage::Toc { layout, left } => {
                    let Some(entry) = toc::entry(&mut cursor, *layout)? else { return Ok(read) };
                    *left -= 1;
                    if entry.has_data {
                        self.entries.insert(entry.dump_id, entry);
                    }
                }
                Stage::Blocks(_) => return Ok(read),
            }
            read += cursor.read();
        }
    }

    /// What was in it, if it is whole.
    pub(super) fn finish(self) -> Result<Contents, ArchiveError> {
        match self.stage {
            Stage::Header => Err(ArchiveError::Cut {
                after: format!("{} bytes, in its header", self.pending.len()),
            }),
            Stage::Toc { left, .. } => Err(ArchiveError::Cut {
                after: format!(
                    "{} of {} entries of its table of contents",
                    self.entry_count - left,
                    self.entry_count
                ),
            }),
            Stage::Blocks(blocks) => {
                let (rows, large_objects) = blocks.finish()?;
                Ok(Contents { rows, large_objects, entries: self.entry_count })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by `pg_dump` 15 (1.14), 17 and 18 (1.16) of the database in `examples/made-by.sql`.
    const EXAMPLES: [&[u8]; 3] = [
        include_bytes!("archive/examples/postgres-15.dump"),
        include_bytes!("archive/examples/postgres-17.dump"),
        include_bytes!("archive/examples/postgres-18.dump"),
    ];

    fn read(bytes: &[u8], piece: usize) -> Result<Contents, ArchiveError> {
        let mut archive = Archive::new();
        for piece in bytes.chunks(piece) {
            archive.feed(piece)?;
        }
        archive.finish()
    }

    fn rows(contents: &Contents) -> Vec<(&str, &str, u64)> {
        let rows = contents.rows.iter();
        rows.map(|((schema, name), rows)| (schema.as_str(), name.as_str(), *rows)).collect()
    }

    #[test]
    fn archives_of_every_format_are_counted_as_the_server_counts() {
        for example in EXAMPLES {
            let contents = read(example, 65_536).unwrap();

            assert_eq!(
                rows(&contents),
                [
                    ("Weird \".schema", "ta;ble\ntwo", 2),
                    ("public", "child", 2),
                    ("public", "empty", 0),
                    ("public", "nothing", 3),
                    ("public", "one_text", 5),
                    ("public", "orders", 25),
                    ("public", "parent", 1),
                    ("public", "parted_1", 4),
                    ("public", "parted_2", 5),
                    ("public", "unlogged", 1),
                ]
            );
            // As computed by the server: see `catalogue.rs`.
            let expected = LargeObjects { count: 4, digest: 464_422_844_213_099 };
            assert_eq!(contents.large_objects, expected);
        }
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        for example in EXAMPLES {
            let mut archive = Archive::new();
            for (at, byte) in example.iter().enumerate() {
                archive.feed(&[*byte]).unwrap();
                if at % 97 == 0 && at + 1 < example.len() {
                    assert!(read(&example[..at], 4_096).is_err(), "cut at {at}");
                }
            }
            assert!(archive.finish().is_ok());
        }
    }

    #[test]
    fn what_is_no_archive_is_refused_at_once() {
        let told = b"OCI runtime exec failed: exec failed: unable to start container process";
        assert!(matches!(read(told, 10), Err(ArchiveError::Malformed(_))));
        assert!(matches!(read(b"", 1), Err(ArchiveError::Cut { .. })));
        let mut newer = EXAMPLES[2].to_vec();
        newer[6] = 99;
        assert!(matches!(read(&newer, 100), Err(ArchiveError::Version { minor: 99, .. })));
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_tell_the_same(piece in 1_usize..5_000, which in 0_usize..3) {
            let whole = read(EXAMPLES[which], usize::MAX).unwrap();
            prop_assert_eq!(read(EXAMPLES[which], piece).unwrap(), whole);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0_usize..20_000, to: u8, which in 0_usize..3) {
            let mut bytes = EXAMPLES[which].to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            drop(read(&bytes, 1_000));
        }
    }
}

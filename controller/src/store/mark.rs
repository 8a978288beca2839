//! Mark: the number of the last batch that was acknowledged, beside the database.
//!
//! A database that lost its newest part can look whole. The mark is written after a batch is
//! durable and before anybody hears of it, so a database behind its mark has lost something.
//! It is not synced: after a power cut it may be older than the database, never newer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Two slots in two sectors, written in turn, so that a torn write leaves the other.
const SLOT_BYTES: u64 = 512;
const ENTRY_BYTES: usize = 12;

/// The file with the number of the last acknowledged batch.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    /// Makes the file for a database at `sequence` and syncs it (not its directory).
    pub(super) fn create(path: &Path, sequence: u64) -> io::Result<Self> {
        let file = options().create(true).truncate(true).open(path)?;
        file.set_len(2 * SLOT_BYTES)?;
        let mark = Self(file);
        mark.write(sequence)?;
        mark.0.sync_all()?;
        Ok(mark)
    }

    /// Opens an existing file; nothing if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        match options().open(path) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number, unless neither slot can be read.
    pub(super) fn read(&self) -> io::Result<Option<u64>> {
        let first = self.slot(0)?;
        let second = self.slot(SLOT_BYTES)?;
        Ok(first.max(second))
    }

    /// Notes that everything up to `sequence` was acknowledged.
    pub(super) fn write(&self, sequence: u64) -> io::Result<()> {
        let number = sequence.to_be_bytes();
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(&number);
        entry[8..].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
        self.0.write_all_at(&entry, (sequence % 2) * SLOT_BYTES)
    }

    fn slot(&self, offset: u64) -> io::Result<Option<u64>> {
        let mut entry = [0; ENTRY_BYTES];
        match self.0.read_exact_at(&mut entry, offset) {
            Ok(()) => Ok(parse(&entry)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn parse(entry: &[u8; ENTRY_BYTES]) -> Option<u64> {
    let number = entry.first_chunk::<8>()?;
    let checksum = entry.last_chunk::<4>()?;
    // All zeros would pass any linear checksum of zero: CRC-32 of eight zeros is not zero.
    (crc32fast::hash(number).to_be_bytes() == *checksum).then(|| u64::from_be_bytes(*number))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_that_can_be_read_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mark = Mark::create(&path, 7).unwrap();
        mark.write(8).unwrap();
        mark.write(9).unwrap();

        let whole = Mark::open(&path).unwrap().unwrap().read().unwrap();
        mark.0.write_all_at(b"torn", SLOT_BYTES).unwrap();
        let torn = mark.read().unwrap();
        mark.0.write_all_at(b"torn", 0).unwrap();
        let gone = mark.read().unwrap();

        assert_eq!((whole, torn, gone), (Some(9), Some(8), None));
    }
}

//! Holes: the parts of a file that take no room on disk, and read as zeros without being read.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
};

use rustix::{fs::SeekFrom, io::Errno};

/// Where the first byte at or after `offset` is that takes room; `size` when there is none.
pub(crate) fn next_data(file: &File, offset: u64, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(data.min(size)),
        Err(Errno::NXIO) => Ok(size),
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(offset), // this file system does not know
        Err(error) => Err(error.into()),
    }
}

/// Where the first hole at or after `offset` begins; `size` when there is none.
pub(crate) fn next_hole(file: &File, offset: u64, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Hole(offset)) {
        Ok(hole) => Ok(hole.min(size)),
        Err(Errno::NXIO | Errno::INVAL | Errno::NOTSUP) => Ok(size),
        Err(error) => Err(error.into()),
    }
}

/// A part of a file, of which holes are not read.
#[derive(Debug)]
pub(crate) struct PartReader<'a, P> {
    file: &'a File,
    at: u64,
    end: u64,
    /// Up to here there is data, or the next hole, whichever it is.
    run_end: u64,
    is_hole: bool,
    has_holes: bool,
    progress: P,
}

impl<'a, P: FnMut(u64)> PartReader<'a, P> {
    /// From `start` to `end` of `file`; `progress` is told of each byte.
    pub(crate) fn new(
        file: &'a File,
        (start, end): (u64, u64),
        has_holes: bool,
        progress: P,
    ) -> Self {
        let run_end = if has_holes { start } else { end };
        Self { file, at: start, end, run_end, is_hole: false, has_holes, progress }
    }

    /// How far it came.
    pub(crate) const fn position(&self) -> u64 {
        self.at
    }

    fn next_run(&mut self) -> io::Result<()> {
        let data = next_data(self.file, self.at, self.end)?;
        self.is_hole = data > self.at;
        self.run_end = if self.is_hole {
            data
        } else {
            next_hole(self.file, self.at, self.end)?.max(self.at + 1)
        };
        Ok(())
    }
}

impl<P: FnMut(u64)> Read for PartReader<'_, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.end {
            return Ok(0);
        }
        if self.has_holes && self.at >= self.run_end {
            self.next_run()?;
        }
        let length = usize::try_from(self.run_end - self.at).unwrap_or(usize::MAX);
        let length = length.min(buffer.len());
        let into = buffer.get_mut(..length).unwrap_or_default();
        let read = if self.is_hole {
            into.fill(0);
            length
        } else {
            self.file.read_at(into, self.at)?
        };
        self.at += u64::try_from(read).unwrap_or(0);
        (self.progress)(u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zeros_wherever_they_are() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"abc", 300_000).unwrap();
        file.write_all_at(b"end", (1 << 20) - 3).unwrap();
        let mut plain = Vec::new();
        (&file).read_to_end(&mut plain).unwrap();
        let mut counted = 0;

        for (start, end) in [(0, 1 << 20), (1, 299_999), (300_001, 300_002), (400_000, 1 << 20)] {
            let mut read = Vec::new();
            let mut part = PartReader::new(&file, (start, end), true, |bytes| counted += bytes);
            part.read_to_end(&mut read).unwrap();
            assert_eq!(part.position(), end);
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            assert!(read == plain[range], "{start}..{end}");
        }
        assert_eq!(next_data(&file, 700_000, 700_001).unwrap(), 700_001);
    }
}

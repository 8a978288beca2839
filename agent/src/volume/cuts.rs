//! Cuts: where restored files were cut into pieces, so that they can be read again and compared
//! piece by piece without knowing how the repository cuts.
//!
//! A file in the order of the walk, like the cache; only files of several pieces are in it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    sync::{Mutex, PoisonError},
};

use lazarette_repo::{hash::Hasher, id::BlobId, tree::Node};

use super::{
    cache::order,
    content::{Content, FileRead, OpenFile, ReadError, TakeError, Taken, read_again},
    holes::{PartReader, next_data},
    walk::FileFound,
};

/// The pieces of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// From the root, without a leading slash.
    pub(crate) path: Vec<u8>,
    /// The size of each piece, in bytes.
    pub(crate) sizes: Vec<u32>,
}

/// Writes the cuts of all files, in whatever order they come.
pub(crate) fn write(file: File, mut all: Vec<Cuts>) -> io::Result<()> {
    all.sort_unstable_by(|one, other| order(&one.path, &other.path));
    let mut out = BufWriter::new(file);
    for cuts in &all {
        for length in [cuts.path.len(), cuts.sizes.len()] {
            let length = u32::try_from(length).map_err(io::Error::other)?;
            out.write_all(&length.to_le_bytes())?;
        }
        out.write_all(&cuts.path)?;
        for size in &cuts.sizes {
            out.write_all(&size.to_le_bytes())?;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Reads everything.
fn read(mut file: impl Read) -> io::Result<Vec<Cuts>> {
    let mut all = Vec::new();
    let mut number = [0; 4];
    loop {
        match file.read_exact(&mut number) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(all),
            outcome => outcome?,
        }
        let path_length = u32::from_le_bytes(number);
        file.read_exact(&mut number)?;
        let count = u32::from_le_bytes(number);
        let mut path = Vec::new();
        Read::by_ref(&mut file).take(path_length.into()).read_to_end(&mut path)?;
        let mut sizes = Vec::new();
        for _ in 0..count {
            file.read_exact(&mut number)?;
            sizes.push(u32::from_le_bytes(number));
        }
        all.push(Cuts { path, sizes });
    }
}

/// Content that is only looked at: it is cut where it was cut, and each piece hashed.
pub(crate) struct Compared<P> {
    all: Vec<Cuts>,
    buffers: Mutex<Vec<Vec<u8>>>,
    /// What so many zeros are.
    zeros: Mutex<HashMap<u64, BlobId>>,
    progress: P,
}

impl<P: Fn(u64) + Sync> Compared<P> {
    /// With the cuts in `file`; `progress` is told of bytes that are done.
    pub(crate) fn with(file: File, progress: P) -> io::Result<Self> {
        let all = read(BufReader::new(file))?;
        Ok(Self { all, buffers: Mutex::default(), zeros: Mutex::default(), progress })
    }

    fn sizes(&self, path: &[u8]) -> &[u32] {
        let at = self.all.binary_search_by(|it| order(&it.path, path)).ok();
        at.and_then(|at| self.all.get(at)).map_or(&[], |cuts| &cuts.sizes)
    }
}

/// A piece is hashed as it is read, through a buffer of this size.
const BUFFER_SIZE: usize = 256 << 10;
/// For a shorter hole it is not worth asking.
const LARGE_HOLE: u64 = 1 << 20;

impl<P: Fn(u64) + Sync> Compared<P> {
    fn compare(&self, path: &[u8], open: &OpenFile) -> Result<Taken, TakeError> {
        let size = open.inode.size;
        let has_holes = open.inode.allocated < size;
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = kept.unwrap_or_else(|| vec![0; BUFFER_SIZE]);
        let mut taken = Taken::default();
        // After the last cut, or where there is none, everything is one piece.
        let sizes = self.sizes(path).iter().map(|size| u64::from(*size));
        for wanted in sizes.chain([u64::MAX]) {
            let end = taken.size.saturating_add(wanted).min(size);
            let piece = if has_holes {
                self.hole(&open.file, (taken.size, end)).map_err(TakeError::Read)?
            } else {
                None
            };
            let (length, id) = match piece {
                Some(zeros) => zeros,
                None => self.piece(&open.file, (taken.size, end), has_holes, &mut buffer)?,
            };
            if length == 0 {
                break; // the end, or it has become shorter: then the sizes differ
            }
            taken.size += length;
            taken.ids.push(id);
        }
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        Ok(taken)
    }

    /// A piece that is nothing but a hole: what as many zeros are is known after the first one.
    fn hole(&self, file: &File, (start, end): (u64, u64)) -> io::Result<Option<(u64, BlobId)>> {
        let length = end - start;
        if length < LARGE_HOLE || next_data(file, start, end)? < end {
            return Ok(None);
        }
        let mut zeros = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        let id = zeros.entry(length).or_insert_with(|| {
            let mut hasher = Hasher::default();
            let block = [0; 4096];
            let mut left = length;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                hasher.update(block.get(..part).unwrap_or_default());
                left -= u64::try_from(part).unwrap_or(left);
            }
            BlobId::new(hasher.finish())
        });
        (self.progress)(length);
        Ok(Some((length, *id)))
    }

    fn piece(
        &self,
        file: &File,
        part: (u64, u64),
        has_holes: bool,
        buffer: &mut [u8],
    ) -> Result<(u64, BlobId), TakeError> {
        let mut hasher = Hasher::default();
        let mut reader = PartReader::new(file, part, has_holes, |bytes| (self.progress)(bytes));
        loop {
            let read = reader.read(buffer).map_err(TakeError::Read)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
        }
        Ok((reader.position() - part.0, BlobId::new(hasher.finish())))
    }
}

impl<P: Fn(u64) + Sync> Content for Compared<P> {
    fn take(&self, files: &[FileFound]) -> Vec<Result<Option<FileRead>, ReadError>> {
        let compare = |found: &FileFound| {
            let path = found.path.as_slice();
            read_again(found, |open| match open.inode.size {
                0 => Ok(Taken::default()),
                _ => self.compare(path, open),
            })
        };
        files.iter().map(compare).collect()
    }

    fn reuse(&self, files: &[&[BlobId]]) -> Result<Vec<bool>, TakeError> {
        Ok(vec![false; files.len()])
    }

    fn tree(&self, _nodes: Vec<Node>) -> Result<BlobId, TakeError> {
        Ok(BlobId::new([0; 32]))
    }

    fn progress(&self, bytes: u64) {
        (self.progress)(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_where_it_was_cut_and_others_are_one_piece() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cuts");
        let cuts = |path: &str, sizes: &[u32]| Cuts { path: path.into(), sizes: sizes.to_vec() };
        let all = vec![cuts("a.b", &[4, 2]), cuts("a/x", &[1, 1, 4])];
        write(File::create(&path).unwrap(), all).unwrap();
        std::fs::write(dir.path().join("content"), "abcdef").unwrap();
        let compared = Compared::with(File::open(&path).unwrap(), |_| {}).unwrap();
        let dir = std::sync::Arc::new(File::open(dir.path()).unwrap().into());
        let inode = crate::volume::inode::Inode::at(&dir, b"content").unwrap();
        let take = |path: &[u8]| {
            let (dir, path) = (std::sync::Arc::clone(&dir), path.to_vec());
            let found = FileFound { dir, name: b"content".to_vec(), path, inode };
            compared.take(&[found]).remove(0).unwrap().unwrap().taken
        };

        assert_eq!(take(b"a.b").ids, [BlobId::of(b"abcd"), BlobId::of(b"ef")]);
        assert_eq!(take(b"a/x").ids.len(), 3);
        assert_eq!(take(b"other"), Taken { ids: vec![BlobId::of(b"abcdef")], size: 6 });
    }

    #[test]
    fn a_piece_that_is_all_hole_is_what_as_many_zeros_are() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        let cuts = tempfile::tempfile().unwrap();
        let compared = Compared::with(cuts, |_| {}).unwrap();

        let (length, id) = compared.hole(&file, (5, 3 << 20)).unwrap().unwrap();

        assert_eq!(length, (3 << 20) - 5);
        assert_eq!(id, BlobId::of(&vec![0; (3 << 20) - 5]));
    }
}

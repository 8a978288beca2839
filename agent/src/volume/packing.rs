//! Packing: content on its way into the packs of a repository.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use lazarette_repo::{
    id::BlobId,
    tree::{Node, Tree},
    writer::{FileRead as ReadInto, StreamOptions, WriteError, Writer},
};

use super::{
    content::{Content, FileRead, OpenFile, ReadError, TRIES, TakeError, Taken, read_again},
    holes::{PartReader, next_data},
    walk::FileFound,
};

/// A file of up to this size is read whole into the memory of a worker.
pub(crate) const SMALL: u64 = 512 << 10;
/// A hole is stored as so many bytes of zeros at a time, which are one blob, stored once.
const ZEROS: u64 = 8 << 20;

type Outcome = Result<Option<FileRead>, ReadError>;

/// Hands content to a writer.
pub(crate) struct Packing<'a, P> {
    writer: &'a Writer,
    /// What [`ZEROS`] zeros are.
    zeros: OnceLock<Vec<BlobId>>,
    progress: P,
}

impl<'a, P: Fn(u64) + Sync> Packing<'a, P> {
    /// For `writer`; `progress` is told of bytes that are done.
    pub(crate) fn new(writer: &'a Writer, progress: P) -> Self {
        Self { writer, zeros: OnceLock::new(), progress }
    }

    /// Reads a large file as a stream, or as several around its large holes.
    fn large(&self, open: &OpenFile) -> Result<Taken, TakeError> {
        let size = open.inode.size;
        let has_holes = open.inode.allocated < size;
        let mut taken = Taken::default();
        while taken.size < size {
            let end = if has_holes { self.next_part(&open.file, &mut taken, size)? } else { size };
            if taken.size == end {
                continue;
            }
            let progress = |bytes| (self.progress)(bytes);
            let mut part = PartReader::new(&open.file, (taken.size, end), has_holes, progress);
            let content = self.writer.write_blocking(&mut part, StreamOptions::default());
            let content = content.map_err(take_error)?;
            let is_short = part.position() < end;
            taken.size += content.size();
            taken.ids.extend(content.into_blobs());
            if is_short {
                break; // it has become shorter while it was read
            }
        }
        Ok(taken)
    }

    /// Takes the large hole at which `taken` stands, if there is one, and says where the next one
    /// begins.
    fn next_part(&self, file: &File, taken: &mut Taken, size: u64) -> Result<u64, TakeError> {
        let data = next_data(file, taken.size, size).map_err(TakeError::Read)?;
        let count = (data - taken.size) / ZEROS;
        if count > 0 {
            let zeros = self.zeros()?;
            for _ in 0..count {
                taken.ids.extend_from_slice(zeros);
            }
            taken.size += count * ZEROS;
            (self.progress)(count * ZEROS);
            return Ok(taken.size);
        }
        // The next large hole ends the part; small ones are read over.
        let mut at = data;
        while at < size {
            let hole = super::holes::next_hole(file, at, size).map_err(TakeError::Read)?;
            let data = next_data(file, hole, size).map_err(TakeError::Read)?;
            if data - hole >= ZEROS {
                return Ok(hole);
            }
            at = data.max(at + 1);
        }
        Ok(size)
    }

    fn zeros(&self) -> Result<&[BlobId], TakeError> {
        if let Some(zeros) = self.zeros.get() {
            return Ok(zeros);
        }
        let source = io::repeat(0).take(ZEROS);
        let content = self.writer.write_blocking(source, StreamOptions::default());
        let content = content.map_err(take_error)?;
        Ok(self.zeros.get_or_init(|| content.into_blobs()))
    }

    /// Has the writer's own threads read small files, and waits for them.
    fn small(&self, files: &[&FileFound]) -> Vec<Outcome> {
        let slots: Vec<_> = files.iter().map(|_| Slot::default()).collect();
        let reads = files.iter().zip(&slots).map(|(found, slot)| {
            let (found, slot) = ((*found).clone(), Arc::clone(slot));
            let read: ReadInto = Box::new(move |buffer| {
                let outcome = read_into(&found, buffer);
                let is_taken = matches!(outcome, Some(Ok(Some(_))));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
                if is_taken { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            });
            read
        });
        let pending = self.writer.write_files_blocking(reads.collect());
        let contents = match pending.and_then(lazarette_repo::writer::PendingFiles::wait_blocking) {
            Ok(contents) => contents,
            Err(error) => return all_failed(files, error),
        };
        let mut outcomes = Vec::with_capacity(files.len());
        for ((slot, content), found) in slots.iter().zip(contents).zip(files) {
            let read = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            // It has become large since it was found.
            let read = read.unwrap_or_else(|| read_again(found, |open| self.large(open)));
            outcomes.push(match (read, content) {
                (Ok(Some(read)), _) if !read.taken.ids.is_empty() => Ok(Some(read)),
                (Ok(Some(mut read)), Ok(content)) => {
                    (self.progress)(content.size());
                    read.taken.ids = content.into_blobs();
                    Ok(Some(read))
                }
                (Ok(Some(_)), Err(error)) => Err(ReadError::take(found, TakeError::Read(error))),
                (outcome, _) => outcome,
            });
        }
        outcomes
    }
}

type Slot = Arc<Mutex<Option<Outcome>>>;

/// Appends the content of `found` to `buffer`, once more when it changes meanwhile; nothing when it
/// is too large for that.
fn read_into(found: &FileFound, buffer: &mut Vec<u8>) -> Option<Outcome> {
    let start = buffer.len();
    let mut tries = 0;
    loop {
        tries += 1;
        buffer.truncate(start);
        let open = match OpenFile::open(found) {
            Ok(Some(open)) => open,
            Ok(None) => return Some(Ok(None)),
            Err(error) => return Some(Err(error.into())),
        };
        let read = match open.inode.size {
            0 => Ok(0),
            size if size > 2 * SMALL => return None,
            size => (&open.file).take(size).read_to_end(buffer),
        };
        let read = match read {
            Ok(read) => u64::try_from(read).unwrap_or(u64::MAX),
            Err(error) => return Some(Err(ReadError::take(found, TakeError::Read(error)))),
        };
        let mut read = match open.finish(found, Taken { ids: Vec::new(), size: read }) {
            Ok(read) => read,
            Err(error) => return Some(Err(error.into())),
        };
        if !read.changed {
            return Some(Ok(Some(read)));
        }
        if tries == TRIES {
            read.give_up(found);
            return Some(Ok(Some(read)));
        }
    }
}

fn all_failed(files: &[&FileFound], error: WriteError) -> Vec<Outcome> {
    let mut error = Some(error);
    let mut outcome = |found: &&FileFound| {
        let error = error.take().unwrap_or(WriteError::Gone);
        Err(ReadError::take(found, TakeError::store(error)))
    };
    files.iter().map(&mut outcome).collect()
}

fn take_error(error: WriteError) -> TakeError {
    if let WriteError::Source(error) = error {
        return TakeError::Read(error);
    }
    TakeError::store(error)
}

impl<P: Fn(u64) + Sync> Content for Packing<'_, P> {
    fn take(&self, files: &[FileFound]) -> Vec<Outcome> {
        if let [found] = files
            && found.inode.size > SMALL
        {
            return vec![read_again(found, |open| self.large(open))];
        }
        self.small(&files.iter().collect::<Vec<_>>())
    }

    fn reuse(&self, files: &[&[BlobId]]) -> Result<Vec<bool>, TakeError> {
        self.writer.reuse_blocking(files).map_err(take_error)
    }

    fn tree(&self, nodes: Vec<Node>) -> Result<BlobId, TakeError> {
        let tree = Tree::new(nodes).map_err(TakeError::store)?;
        self.writer.save_tree_blocking(&tree).map_err(take_error)
    }

    fn progress(&self, bytes: u64) {
        (self.progress)(bytes);
    }
}

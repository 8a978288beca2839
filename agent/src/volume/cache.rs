//! Cache: what the files of a volume were when they were last read, so that those which have not
//! changed need not be read again.
//!
//! A file that is streamed beside the walk, in the order of the walk, so that its size costs no
//! memory. It is cut into blocks, each with its SHA-256; from the first block that is not whole on
//! there is nothing in it. Losing it costs the time to read everything once.

use std::{
    cmp::Ordering,
    io::{self, Read, Write},
};

use lazarette_repo::{hash::sha256, id::BlobId, tree::Xattr};

use super::inode::{FileTime, Inode};

/// Begins every cache; another format gets another one.
const MAGIC: &[u8; 16] = b"lazarette cache1";
/// A block is closed when it is as long as this.
const BLOCK_SIZE: usize = 64 << 10;
/// A longer block is not believed: one file of 8 TiB in chunks of 1 MiB fits.
const BLOCK_LIMIT: usize = 512 << 20;

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachedFile {
    /// From the root, without a leading slash.
    pub(crate) path: Vec<u8>,
    /// Its file system.
    pub(crate) device: u64,
    /// Its number there.
    pub(crate) number: u64,
    /// Of its content, in bytes.
    pub(crate) size: u64,
    /// When its content changed.
    pub(crate) mtime: FileTime,
    /// When anything of it changed, attributes included.
    pub(crate) ctime: FileTime,
    /// Its attributes.
    pub(crate) attributes: Vec<Xattr>,
    /// Its content.
    pub(crate) content: Vec<BlobId>,
}

impl CachedFile {
    /// Whether `inode` is this file and nobody has changed it since.
    pub(crate) fn is_still(&self, inode: &Inode) -> bool {
        self.device == inode.device
            && self.number == inode.number
            && self.size == inode.size
            && self.mtime == inode.mtime
            && self.ctime == inode.ctime
    }
}

/// Two paths in the order of the walk: a directory, all that is in it, its next sibling.
pub(crate) fn order(one: &[u8], other: &[u8]) -> Ordering {
    one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/'))
}

/// Reads a cache. What it is asked for comes in the order of the walk.
#[derive(Debug)]
pub(crate) struct CacheReader<R> {
    file: R,
    block: Vec<u8>,
    at: usize,
    next: Option<CachedFile>,
    is_over: bool,
}

impl<R: Read> CacheReader<R> {
    /// Of a file that [`CacheWriter`] has written, or of anything else, in which nothing is found.
    pub(crate) fn new(mut file: R) -> Self {
        let mut magic = [0; MAGIC.len()];
        let is_over = file.read_exact(&mut magic).is_err() || magic != *MAGIC;
        Self { file, block: Vec::new(), at: 0, next: None, is_over }
    }

    /// What is known of `path`, which comes after all that were asked for before.
    pub(crate) fn find(&mut self, path: &[u8]) -> Option<CachedFile> {
        loop {
            if self.next.is_none() {
                self.next = self.advance();
            }
            match order(&self.next.as_ref()?.path, path) {
                Ordering::Less => self.next = None,
                Ordering::Equal => return self.next.take(),
                Ordering::Greater => return None,
            }
        }
    }

    fn advance(&mut self) -> Option<CachedFile> {
        if self.is_over {
            return None;
        }
        if self.at == self.block.len() && !self.fill() {
            self.is_over = true;
            return None;
        }
        let mut rest = self.block.get(self.at..).unwrap_or_default();
        let before = rest.len();
        let file = take_file(&mut rest);
        self.at += before - rest.len();
        self.is_over = file.is_none();
        file
    }

    /// Reads the next block; whether there is one that is whole.
    fn fill(&mut self) -> bool {
        let mut head = [0; 36];
        if self.file.read_exact(&mut head).is_err() {
            return false;
        }
        let (length, sum) = head.split_at(4);
        let length = length.try_into().map_or(0, u32::from_le_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > BLOCK_LIMIT {
            return false;
        }
        self.block.clear();
        self.at = 0;
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        let read = Read::by_ref(&mut self.file).take(limit).read_to_end(&mut self.block);
        read.is_ok_and(|read| read == length) && sha256(&self.block) == sum
    }
}

/// Writes a cache, in the order of the walk.
#[derive(Debug)]
pub(crate) struct CacheWriter<W> {
    file: W,
    block: Vec<u8>,
}

impl<W: Write> CacheWriter<W> {
    /// Into an empty file.
    pub(crate) fn new(mut file: W) -> io::Result<Self> {
        file.write_all(MAGIC)?;
        Ok(Self { file, block: Vec::with_capacity(2 * BLOCK_SIZE) })
    }

    /// Adds a file, which comes after all others.
    pub(crate) fn push(&mut self, file: &CachedFile) -> io::Result<()> {
        put_file(&mut self.block, file);
        if self.block.len() < BLOCK_SIZE {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what is left, and gives the file back to be synced.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.file)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.block.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&sha256(&self.block))?;
        self.file.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

fn put_file(block: &mut Vec<u8>, file: &CachedFile) {
    put_bytes(block, &file.path);
    for number in [file.device, file.number, file.size] {
        block.extend_from_slice(&number.to_le_bytes());
    }
    for time in [file.mtime, file.ctime] {
        block.extend_from_slice(&time.seconds.to_le_bytes());
        block.extend_from_slice(&time.nanos.to_le_bytes());
    }
    put_length(block, file.attributes.len());
    for attribute in &file.attributes {
        put_bytes(block, attribute.name.as_bytes());
        put_bytes(block, &attribute.value);
    }
    put_length(block, file.content.len());
    for id in &file.content {
        block.extend_from_slice(id.as_bytes());
    }
}

fn take_file(rest: &mut &[u8]) -> Option<CachedFile> {
    let path = take_bytes(rest)?.to_vec();
    let mut number = || Some(u64::from_le_bytes(take_array(rest)?));
    let (device, inode, size) = (number()?, number()?, number()?);
    let (mtime, ctime) = (take_time(rest)?, take_time(rest)?);
    let attributes = (0..take_length(rest)?).map(|_| {
        let name = String::from_utf8(take_bytes(rest)?.to_vec()).ok()?;
        Some(Xattr { name, value: take_bytes(rest)?.to_vec() })
    });
    let attributes = attributes.collect::<Option<_>>()?;
    let content = (0..take_length(rest)?).map(|_| Some(BlobId::new(take_array(rest)?)));
    let content = content.collect::<Option<_>>()?;
    Some(CachedFile { path, device, number: inode, size, mtime, ctime, attributes, content })
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    block.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    put_length(block, bytes.len());
    block.extend_from_slice(bytes);
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*array)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take_array(rest)?)).ok()
}

fn take_bytes<'bytes>(rest: &mut &'bytes [u8]) -> Option<&'bytes [u8]> {
    let length = take_length(rest)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_time(rest: &mut &[u8]) -> Option<FileTime> {
    let seconds = i64::from_le_bytes(take_array(rest)?);
    Some(FileTime { seconds, nanos: u32::from_le_bytes(take_array(rest)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, number: u64) -> CachedFile {
        let time = FileTime { seconds: -7, nanos: 5 };
        CachedFile {
            path: path.as_bytes().to_vec(),
            device: 1,
            number,
            size: 3,
            mtime: time,
            ctime: time,
            attributes: vec![Xattr { name: "user.a".to_owned(), value: vec![0, 255] }],
            content: vec![BlobId::of(path.as_bytes())],
        }
    }

    fn written(paths: &[&str]) -> Vec<u8> {
        let mut cache = CacheWriter::new(Vec::new()).unwrap();
        for (number, path) in (0..).zip(paths) {
            cache.push(&file(path, number)).unwrap();
        }
        cache.finish().unwrap()
    }

    #[test]
    fn what_was_written_is_found_in_the_order_of_the_walk() {
        // `a.b` sorts before `a/x` as text, and after it in a walk.
        let bytes = written(&["a/x", "a.b", "b", "c/d/e"]);
        let mut cache = CacheReader::new(bytes.as_slice());

        assert_eq!(cache.find(b"a/a"), None);
        assert_eq!(cache.find(b"a/x"), Some(file("a/x", 0)));
        assert_eq!(cache.find(b"a.b"), Some(file("a.b", 1)));
        assert_eq!(cache.find(b"c"), None);
        assert_eq!(cache.find(b"c/d/e"), Some(file("c/d/e", 3)));
        assert_eq!(cache.find(b"d"), None);
    }

    #[test]
    fn many_files_fill_many_blocks() {
        let names: Vec<_> = (0..2000).map(|number| format!("d/{number:05}")).collect();
        let bytes = written(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut cache = CacheReader::new(bytes.as_slice());

        assert!(bytes.len() > 2 * BLOCK_SIZE);
        for (number, name) in (0..).zip(&names) {
            assert_eq!(cache.find(name.as_bytes()), Some(file(name, number)));
        }
    }

    #[test]
    fn a_cache_that_is_cut_or_changed_anywhere_gives_nothing_wrong() {
        let bytes = written(&["a", "b"]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(CacheReader::new(changed.as_slice()).find(b"b"), None, "{at}");
            assert_eq!(CacheReader::new(&bytes[..at]).find(b"b"), None, "{at}");
        }
        assert_eq!(CacheReader::new([0; 64].as_slice()).find(b"a"), None);
    }
}

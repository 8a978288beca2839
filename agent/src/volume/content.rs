//! Content: what is in a file, read with care and handed to whoever takes it.

use std::{fs::File, os::fd::AsFd};

use lazarette_core::error::{Reason, ReasonedError};
use lazarette_repo::{
    id::BlobId,
    tree::{Node, NodeKind, Xattr},
};
use rustix::{fs::OFlags, io::Errno};

use super::{
    attributes::Holder,
    inode::{FileTime, Inode, open_beneath},
    walk::{FileFound, WalkError, kept, shown},
};

/// A file that somebody writes to is read so often before it is taken as it is.
pub(crate) const TRIES: usize = 3;

/// Takes the content of files: into packs, or only to look at it.
pub(crate) trait Content: Sync {
    /// Reads `files` and says what became of each, in the same order; nothing of one that is gone.
    fn take(&self, files: &[FileFound]) -> Vec<Result<Option<FileRead>, ReadError>>;

    /// Which of `files`, each given by what it consists of, need not be taken because all of it is
    /// there already.
    fn reuse(&self, files: &[&[BlobId]]) -> Result<Vec<bool>, TakeError>;

    /// Takes a directory.
    fn tree(&self, nodes: Vec<Node>) -> Result<BlobId, TakeError>;

    /// `bytes` of content are done, taken or reused.
    fn progress(&self, bytes: u64);
}

/// Content that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What it is, piece by piece.
    pub(crate) ids: Vec<BlobId>,
    /// How many bytes there were.
    pub(crate) size: u64,
}

/// Why content was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// The file cannot be read.
    #[error("read it")]
    Read(#[source] std::io::Error),
    /// Who takes it cannot.
    #[error("store what was read")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TakeError {
    /// Who takes it cannot, because of `error`.
    pub(crate) fn store(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store(Box::new(error))
    }

    /// What programs match on.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Read(_) => Reason::DumpFailed,
            Self::Store(_) => Reason::StorageUnavailable,
        }
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct FileRead {
    /// When reading began, by the clock that the kernel stamps files with.
    pub(crate) began: FileTime,
    /// As it was before it was read.
    pub(crate) inode: Inode,
    /// Its attributes.
    pub(crate) attributes: Vec<Xattr>,
    /// Its content.
    pub(crate) taken: Taken,
    /// Whether it changed while it was read, again and again.
    pub(crate) changed: bool,
    /// What an operator should read.
    pub(crate) notes: Vec<String>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file cannot be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Its content was not taken.
    #[error("save `{path}`")]
    Take {
        /// From the root.
        path: String,
        /// Why.
        #[source]
        source: TakeError,
    },
}

impl ReadError {
    /// The content of `found` was not taken.
    pub(crate) fn take(found: &FileFound, source: TakeError) -> Self {
        Self::Take { path: shown(&found.path), source }
    }
}

impl ReasonedError for ReadError {
    fn reason(&self) -> Reason {
        match self {
            Self::Walk(error) => error.reason(),
            Self::Take { source, .. } => source.reason(),
        }
    }
}

/// A file that is open and about to be read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The file, at its beginning.
    pub(crate) file: File,
    /// As it is before it is read; its size is how much to read.
    pub(crate) inode: Inode,
    began: FileTime,
    attributes: Vec<Xattr>,
    notes: Vec<String>,
}

impl OpenFile {
    /// Opens `found`; nothing when it is gone, or something else by now.
    pub(crate) fn open(found: &FileFound) -> Result<Option<Self>, WalkError> {
        let path = &found.path;
        // A pipe that took its place would make this wait for a writer, were it not for NONBLOCK.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match open_beneath(&found.dir, &found.name, flags) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
            outcome => File::from(outcome.map_err(WalkError::call("open", path))?),
        };
        let began = FileTime::now();
        let inode = Inode::open(&file).map_err(WalkError::call("look at", path))?;
        if inode.kind != NodeKind::File {
            return Ok(None);
        }
        let mut notes = Vec::new();
        let attributes = Holder::Open(file.as_fd()).read();
        let attributes = attributes.map_err(WalkError::call("read attributes of", path))?;
        let attributes = kept(attributes, path, &mut |note| notes.push(note));
        Ok(Some(Self { file, inode, began, attributes, notes }))
    }

    /// Looks whether the file is what it was when it was opened, after `taken` was read from it.
    pub(crate) fn finish(self, found: &FileFound, taken: Taken) -> Result<FileRead, WalkError> {
        let Self { file, inode, began, attributes, notes } = self;
        let after = Inode::open(&file).map_err(WalkError::call("look at", &found.path))?;
        // Another name for it, or one less, is no change of what was read.
        let is_still = inode.is_still(&after) || only_linked(&inode, &after);
        let changed = !is_still || taken.size != inode.size;
        Ok(FileRead { began, inode, attributes, taken, changed, notes })
    }
}

impl FileRead {
    /// Says that the file changed each time it was read.
    pub(crate) fn give_up(&mut self, found: &FileFound) {
        let path = shown(&found.path);
        self.notes.push(format!("`{path}` changed each of the {TRIES} times it was read"));
    }
}

/// Whether all that changed is how many names the file has, and with it the time of that change.
fn only_linked(before: &Inode, after: &Inode) -> bool {
    before.links != after.links
        && before.is_still(&Inode { links: before.links, ctime: before.ctime, ..*after })
}

/// Reads `found` with `take`, again when it changes meanwhile, and not for ever.
pub(crate) fn read_again(
    found: &FileFound,
    mut take: impl FnMut(&OpenFile) -> Result<Taken, TakeError>,
) -> Result<Option<FileRead>, ReadError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(open) = OpenFile::open(found)? else { return Ok(None) };
        let taken = take(&open).map_err(|source| ReadError::take(found, source))?;
        let mut read = open.finish(found, taken)?;
        if !read.changed {
            return Ok(Some(read));
        }
        if tries == TRIES {
            read.give_up(found);
            return Ok(Some(read));
        }
    }
}

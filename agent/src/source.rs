//! Source: one component's directory in a snapshot, as it is read for a restore.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::{
    TryStreamExt as _,
    stream::{self, BoxStream},
};
use lazarette_core::{error::Reason, units::ByteCount};
use lazarette_repo::{
    crypto::MasterKey,
    id::BlobId,
    reader::{Blobs, ReadError, Reader},
    source::PackSource,
    tree::{Node, NodeKind, Tree},
};

use crate::driver::DriverError;

/// The most that [`Source::text`] reads.
pub const MAX_TEXT: ByteCount = ByteCount(64 << 20);

/// What a file holds, in order; ends with an error unless all of it came, and is what was saved.
pub type FileStream = BoxStream<'static, Result<Bytes, DriverError>>;

/// A directory that a driver reads.
#[derive(Debug)]
pub struct Source {
    reader: Reader,
    root: BlobId,
    tree: Tree,
    packs: Option<Packs>,
}

/// For whoever reads packs by itself, in a process of its own.
#[derive(Clone)]
pub struct Packs {
    /// Opens every pack.
    pub key: MasterKey,
    /// Gives them.
    pub source: Arc<dyn PackSource>,
}

impl fmt::Debug for Packs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packs").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Source {
    /// The directory with the id `root`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is none.
    pub async fn new(reader: Reader, root: BlobId) -> Result<Self, DriverError> {
        let tree = reader.tree(root).await.map_err(|error| failed("", error))?;
        Ok(Self { reader, root, tree, packs: None })
    }

    /// The same, for drivers that read packs by themselves.
    #[must_use]
    pub fn with_packs(self, packs: Packs) -> Self {
        Self { packs: Some(packs), ..self }
    }

    /// For drivers that read packs by themselves.
    ///
    /// # Errors
    ///
    /// When this source was made for others: a defect.
    pub fn packs(&self) -> Result<&Packs, DriverError> {
        let missing = "this source gives streams only";
        self.packs.as_ref().ok_or_else(|| DriverError::plain(Reason::Internal, missing))
    }

    /// The id of the directory itself.
    pub const fn root(&self) -> BlobId {
        self.root
    }

    /// What reads the snapshot, for whoever writes whole trees.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The entries of the directory itself, sorted by name.
    pub fn nodes(&self) -> &[Node] {
        self.tree.nodes()
    }

    /// The names of the entries of the directory itself, sorted; what is not UTF-8 is left out.
    pub fn names(&self) -> Vec<String> {
        let names = self.nodes().iter().map(|node| String::from_utf8(node.name.clone()));
        names.filter_map(Result::ok).collect()
    }

    /// The entry `name`; a `/` in it leads through directories.
    ///
    /// # Errors
    ///
    /// When there is none, or a directory on the way cannot be read.
    pub async fn node(&self, name: &str) -> Result<Node, DriverError> {
        let missing = || {
            let what = "the snapshot has nothing of that name: choose another snapshot";
            DriverError::new(Reason::RepositoryDamaged, reading(name), what)
        };
        let mut node: Option<Node> = None;
        for part in name.split('/') {
            let found = match node {
                None => self.tree.find(part.as_bytes()).cloned(),
                Some(Node { subtree: Some(subtree), .. }) => {
                    let tree = self.reader.tree(subtree).await;
                    let tree = tree.map_err(|error| failed(name, error))?;
                    tree.find(part.as_bytes()).cloned()
                }
                Some(_) => None,
            };
            node = Some(found.ok_or_else(missing)?);
        }
        node.ok_or_else(missing)
    }

    /// What the file `name` holds.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub async fn open(&self, name: &str) -> Result<FileStream, DriverError> {
        let node = self.node(name).await?;
        let (NodeKind::File, Some(content)) = (node.kind, node.content) else {
            let what = "it is no file";
            return Err(DriverError::new(Reason::RepositoryDamaged, reading(name), what));
        };
        let opened =
            Opened { name: name.to_owned(), blobs: self.reader.blobs(content), left: node.size };
        Ok(Box::pin(stream::try_unfold(opened, Opened::next)))
    }

    /// What the file `name` holds, which is at most [`MAX_TEXT`] of UTF-8.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is longer, or not UTF-8.
    pub async fn text(&self, name: &str) -> Result<String, DriverError> {
        let refused =
            |what: String| DriverError::new(Reason::RepositoryDamaged, reading(name), what);
        let size = ByteCount(self.node(name).await?.size);
        if size > MAX_TEXT {
            return Err(refused(format!("it has {size}, which is more than {MAX_TEXT}")));
        }
        let mut all = Vec::new();
        let mut file = self.open(name).await?;
        while let Some(piece) = file.try_next().await? {
            all.extend_from_slice(&piece);
        }
        String::from_utf8(all).map_err(|error| refused(error.to_string()))
    }

    /// The id of the directory `name`.
    ///
    /// # Errors
    ///
    /// When there is no such directory.
    pub async fn subtree(&self, name: &str) -> Result<BlobId, DriverError> {
        let subtree = self.node(name).await?.subtree;
        subtree.ok_or_else(|| {
            DriverError::new(Reason::RepositoryDamaged, reading(name), "it is no directory")
        })
    }
}

/// A file that is being read.
struct Opened {
    name: String,
    blobs: Blobs,
    /// How much of it is still to come.
    left: u64,
}

impl Opened {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, DriverError> {
        let wrong = |what: &'static str, name: &str| {
            Err(DriverError::new(Reason::RepositoryDamaged, reading(name), what))
        };
        match self.blobs.next().await {
            Some(Ok(piece)) => {
                let piece = Bytes::copy_from_slice(piece);
                let size = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                let Some(left) = self.left.checked_sub(size) else {
                    return wrong("it is longer than it was", &self.name);
                };
                self.left = left;
                Ok(Some((piece, self)))
            }
            Some(Err(error)) => Err(failed(&self.name, error)),
            None if self.left > 0 => wrong("it is shorter than it was", &self.name),
            None => Ok(None),
        }
    }
}

fn reading(name: &str) -> String {
    match name {
        "" => "read a component's directory in the snapshot".to_owned(),
        name => format!("read `{}` in the snapshot", name.escape_debug()),
    }
}

fn failed(name: &str, error: ReadError) -> DriverError {
    let reason = match &error {
        ReadError::Pack { .. } | ReadError::Locate(_) => Reason::StorageUnavailable,
        ReadError::Write(_) | ReadError::Gone => Reason::Internal,
        ReadError::Missing { .. }
        | ReadError::Damaged { .. }
        | ReadError::Tree { .. }
        | ReadError::At { .. } => Reason::RepositoryDamaged,
    };
    DriverError::new(reason, reading(name), error)
}

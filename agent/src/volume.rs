//! Volumes: directory trees of this host, saved and put back by a child process that sees nothing
//! else (H31).

use std::path::{Path, PathBuf};

use lazarette_core::{
    error::{Reason, ReasonedError},
    evidence::Evidence,
    units::ByteCount,
};
use lazarette_repo::{crypto::MasterKey, hash::sha256, tree::Node};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod attributes;
mod cache;
pub mod child;
mod confine;
mod content;
mod cuts;
pub mod exchange;
mod frame;
mod holes;
mod inode;
mod listing;
mod message;
mod packing;
mod place;
mod remote;
mod removal;
mod restore;
pub mod root;
mod save;
pub mod space;
mod walk;
mod work;
pub mod worker;

use self::{
    message::{Done, Job, Task},
    root::Root,
    space::FullError,
    worker::{Call, WorkerError, Workers},
};

/// Where in [`exchange::Exchange::work_path`] the list of cuts is.
const CUTS: &str = "cuts";

/// A tree was not saved, restored or looked at.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The directory cannot be worked in.
    #[error(transparent)]
    Root(#[from] root::RootError),
    /// The child did not do it.
    #[error("{doing} `{path}`")]
    Worker {
        /// Verb.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: WorkerError,
    },
    /// There is not enough room.
    #[error(transparent)]
    Full(#[from] FullError),
    /// The agent's own state cannot be written.
    #[error("keep the cache of unchanged files at `{path}`")]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ReasonedError for VolumeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Root(error) => error.reason(),
            Self::Worker { source, .. } => source.reason(),
            Self::Full(_) => Reason::DiskFull,
            Self::Cache { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Reason::DiskFull
            }
            Self::Cache { .. } => Reason::Internal,
        }
    }
}

/// A tree that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedTree {
    /// The root's own entry: its metadata, and the tree below it.
    pub root: Node,
    /// What is needed to restore it.
    pub extent: Extent,
    /// What was counted.
    pub evidence: Evidence,
    /// Files that were not read because they had not changed.
    pub unchanged: u64,
    /// What of it the repository did not have.
    pub new: ByteCount,
    /// What that takes there.
    pub stored: ByteCount,
}

/// How large a tree is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Its entries, the root included.
    pub entries: u64,
    /// Of its content.
    pub bytes: ByteCount,
    /// What it takes on disk: less than its content where that has holes.
    pub allocated: ByteCount,
}

/// Saves and restores trees.
#[derive(Clone, Debug)]
pub struct Volumes {
    workers: Workers,
    /// One cache for each root.
    caches: PathBuf,
}

impl Volumes {
    /// With children started by `workers`, and caches in the directory `caches`, which is made.
    pub fn new(workers: Workers, caches: impl Into<PathBuf>) -> Self {
        Self { workers, caches: caches.into() }
    }

    /// Reads `root`, or what is at and below the paths `only` unless that is empty, into packs
    /// sealed with `key`. Files that have not changed since the last time are not read again.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]; what was put until then is named by nothing.
    pub async fn save(
        &self,
        root: &Root,
        only: &[Vec<u8>],
        key: &MasterKey,
        call: Call<'_>,
    ) -> Result<SavedTree, VolumeError> {
        let cache = self.cache_of(root)?;
        let new_cache = cache.with_extension(std::process::id().to_string());
        let task = Task::Save {
            cache: Some(cache.clone()),
            new_cache: Some(new_cache.clone()),
            only: only.to_vec(),
        };
        let done = self.work("save", root, (task, key.to_bytes()), call).await?;
        // What it says is true whether the run becomes a snapshot or not: it is asked for again.
        if let Err(error) = std::fs::rename(&new_cache, &cache) {
            let text = format!("the cache of unchanged files cannot be kept: {error}");
            call.listener.note(text);
        }
        let extent = extent(&done);
        let Done { root: Some(node), evidence, unchanged, written, .. } = done else {
            return Err(VolumeError::Worker {
                doing: "save",
                path: root.path().to_path_buf(),
                source: WorkerError::Pipe(Box::new(message::PipeError::OutOfPlace)),
            });
        };
        let written = written.unwrap_or_default();
        Ok(SavedTree {
            root: node,
            extent,
            evidence,
            unchanged,
            new: written.new,
            stored: written.stored,
        })
    }

    /// Writes what is below `node`, no larger than `extent`, into `root`, an empty directory beside
    /// which the list of cuts is left for [`Self::verify`].
    ///
    /// # Errors
    ///
    /// [`VolumeError`], with a part of the tree in `root`.
    pub async fn restore(
        &self,
        root: &Root,
        (node, extent): (Node, Extent),
        key: &MasterKey,
        call: Call<'_>,
    ) -> Result<(), VolumeError> {
        space::check(root, extent)?;
        let Extent { entries, bytes, .. } = extent;
        let task =
            Task::Restore { root: Box::new(node), entries, bytes, cuts: cuts_beside(root.path()) };
        self.work("restore", root, (task, key.to_bytes()), call).await.map(drop)
    }

    /// Reads `root` again, into which [`Self::restore`] has written, and counts what is there.
    ///
    /// # Errors
    ///
    /// [`VolumeError`] when something cannot be read.
    pub async fn verify(&self, root: &Root, call: Call<'_>) -> Result<Evidence, VolumeError> {
        let task = Task::Verify { cuts: cuts_beside(root.path()), only: Vec::new() };
        let done = self.work("verify", root, (task, Zeroizing::default()), call).await?;
        Ok(done.evidence)
    }

    async fn work(
        &self,
        doing: &'static str,
        root: &Root,
        (task, key): (Task, Zeroizing<Vec<u8>>),
        call: Call<'_>,
    ) -> Result<Done, VolumeError> {
        let job = Job { place: root.place(), task };
        let done = self.workers.work(root.dir(), job, key, call).await;
        done.map_err(|source| VolumeError::Worker {
            doing,
            path: root.path().to_path_buf(),
            source,
        })
    }

    /// Where the cache of a root is kept.
    fn cache_of(&self, root: &Root) -> Result<PathBuf, VolumeError> {
        // Another directory of the same path, on another host of the same machine, is not it.
        let identity = format!("{} {:?}", root.path().display(), root.place());
        let name = hex::encode(sha256(identity.as_bytes()));
        let make = std::fs::DirBuilder::new();
        let made = make_private(make, &self.caches);
        made.map_err(|source| VolumeError::Cache { path: self.caches.clone(), source })?;
        Ok(self.caches.join(name.get(..32).unwrap_or(&name)))
    }
}

fn make_private(mut builder: std::fs::DirBuilder, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    builder.recursive(true).mode(0o700).create(path)
}

fn extent(done: &Done) -> Extent {
    Extent { entries: done.entries, bytes: done.bytes, allocated: done.allocated }
}

fn cuts_beside(root: &Path) -> PathBuf {
    root.parent().unwrap_or(root).join(CUTS)
}

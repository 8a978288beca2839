//! Trees: directories on their way into packs of their own, apart from the files.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::id::BlobId;
use crate::pack::builder::PackBuilder;
use crate::pack::{BlobKind, PackError};
use crate::tree::Tree;
use crate::writer::work::{Job, Packs};
use crate::writer::{Shared, WriteError, Writer};

/// How many directories, or bytes of them, are given to a worker at once.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;

/// How many such batches may wait.
const WAITING: usize = 4;

/// Directories for a worker, and the one pack in the making for all of them.
pub(super) struct Trees {
    pub(super) blobs: Vec<(BlobId, Vec<u8>)>,
    pub(super) packs: Arc<Mutex<Packs>>,
}

/// Directories that wait for more to go with.
pub(super) struct Queue {
    blobs: Vec<(BlobId, Vec<u8>)>,
    bytes: usize,
    pub(super) packs: Option<Arc<Mutex<Packs>>>,
    permits: Arc<Semaphore>,
    builder: Option<PackBuilder>,
}

impl Queue {
    pub(super) fn new(shared: &Shared) -> Result<Self, PackError> {
        let builder = PackBuilder::new(&shared.cipher, shared.recipe(BlobKind::Tree))?;
        let permits = Arc::new(Semaphore::new(WAITING));
        Ok(Self { blobs: Vec::new(), bytes: 0, packs: None, permits, builder: Some(builder) })
    }
}

impl Writer {
    /// Stores a directory and returns its id, which the directory above it names.
    ///
    /// # Errors
    ///
    /// [`WriteError::Tree`]; or when the writer has failed.
    pub async fn save_tree(&self, tree: &Tree) -> Result<BlobId, WriteError> {
        self.shared.check()?;
        let json = tree.to_json().map_err(WriteError::Tree)?;
        let id = BlobId::of(&json);
        let is_full = self.with_trees(|queue| {
            queue.bytes += json.len();
            queue.blobs.push((id, json));
            queue.blobs.len() >= BATCH || queue.bytes >= BATCH_BYTES
        });
        if is_full {
            self.send_trees().await?;
        }
        Ok(id)
    }

    /// [`Self::save_tree`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::save_tree`].
    pub fn save_tree_blocking(&self, tree: &Tree) -> Result<BlobId, WriteError> {
        self.shared.runtime.block_on(self.save_tree(tree))
    }

    /// Gives the directories that wait to a worker.
    pub(super) async fn send_trees(&self) -> Result<(), WriteError> {
        let permits = self.with_trees(|queue| Arc::clone(&queue.permits));
        let permit = permits.acquire_owned().await.map_err(|_gone| WriteError::Gone)?;
        let trees = self.with_trees(|queue| {
            queue.bytes = 0;
            let blobs = std::mem::take(&mut queue.blobs);
            if let Some(builder) = queue.builder.take() {
                let (kind, uploads) = (BlobKind::Tree, self.uploads.clone());
                queue.packs = Some(Arc::new(Mutex::new(Packs { kind, builder, uploads })));
            }
            let packs = queue.packs.clone()?;
            Some(Trees { blobs, packs })
        });
        match trees {
            Some(trees) if !trees.blobs.is_empty() => {
                self.jobs.send(Job::Trees { trees, permit }).map_err(|_gone| WriteError::Gone)
            }
            _ => Ok(()),
        }
    }

    fn with_trees<T>(&self, look: impl FnOnce(&mut Queue) -> T) -> T {
        look(&mut self.trees.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! Writer: streams, files and directories become packs in a [`PackSink`].
//!
//! Worker threads each own a pack in the making: they hash what they are given, ask in batches what
//! is known, and compress, seal and verify the rest straight into it. A few more threads upload.
//! What a source could not give to its very end has no [`Content`], so no directory can name it.

mod claims;
mod feed;
mod files;
mod finish;
mod stats;
mod stream;
mod trees;
mod work;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::chunker::Chunker;
use crate::crypto::{Cipher, MasterKey};
use crate::id::{BlobId, PackId};
use crate::pack::builder::Recipe;
use crate::pack::{BlobKind, PackError, SealedPack};
use crate::sink::{PackSink, SinkError};
use crate::tree::TreeError;
use crate::writer::claims::Claims;
use crate::writer::stats::Counters;
use crate::writer::work::Job;

pub use files::{FileRead, PendingFiles};
pub use finish::Written;
pub use stats::Stats;
pub use stream::StreamOptions;

/// How a writer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// How many threads hash, compress and seal; each has a pack of its own in memory.
    pub workers: usize,
    /// How many packs are uploaded at once; each is in memory meanwhile.
    pub uploads: usize,
    /// The size of a pack in bytes, about.
    pub pack_size: usize,
    /// zstd's level.
    pub level: i32,
    /// Whether each blob is opened again and compared before it is kept.
    pub verify: bool,
}

impl Default for WriterOptions {
    /// As many workers as there are processors, four at most; 16 MiB packs; level 3; verified.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            workers: processors.clamp(1, 4),
            uploads: 3,
            pack_size: 16 << 20,
            level: 3,
            verify: true,
        }
    }
}

/// What a file consists of, as only a whole and sound source gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    blobs: Vec<BlobId>,
    size: u64,
    sha256: Option<[u8; 32]>,
}

impl Content {
    /// The blobs, in order; none for an empty file.
    pub fn blobs(&self) -> &[BlobId] {
        &self.blobs
    }

    /// The blobs, in order; none for an empty file.
    pub fn into_blobs(self) -> Vec<BlobId> {
        self.blobs
    }

    /// The size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of the whole, when it was asked for.
    pub const fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The source failed, at its beginning, in its middle or at its very end.
    #[error("read the source of a stream")]
    Source(#[source] std::io::Error),
    /// The source gave everything, but what stands behind it says that it is not sound.
    #[error("trust a stream that was read to its end")]
    Gate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The writer was told that it must not come to an end.
    #[error("go on writing: {reason}")]
    Poisoned {
        /// Why not.
        reason: String,
    },
    /// A blob or a pack cannot be made.
    #[error("make a pack")]
    Pack(#[source] PackError),
    /// The sink does not answer or take a pack.
    #[error("hand over a pack")]
    Sink(#[source] SinkError),
    /// A directory cannot be stored.
    #[error("store a directory")]
    Tree(#[source] TreeError),
    /// The writer has failed before.
    #[error("go on writing after an error")]
    Failed(#[source] Arc<WriteError>),
    /// A thread of the writer is gone.
    #[error("go on writing: a thread of the writer has ended")]
    Gone,
}

impl WriteError {
    /// Whether the same run may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Sink(error) => error.is_transient(),
            Self::Failed(error) => error.is_transient(),
            Self::Source(_)
            | Self::Gate(_)
            | Self::Poisoned { .. }
            | Self::Pack(_)
            | Self::Tree(_)
            | Self::Gone => false,
        }
    }
}

/// Writes one run.
///
/// All its functions may be called by many tasks or threads at once. Each open stream has 8 MiB in
/// memory, each worker a pack and as much again, each upload a pack.
pub struct Writer {
    shared: Arc<Shared>,
    jobs: crossbeam_channel::Sender<Job>,
    uploads: crossbeam_channel::Sender<SealedPack>,
    threads: Vec<JoinHandle<()>>,
    uploaders: Vec<JoinHandle<()>>,
    trees: Mutex<trees::Queue>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("sink", &self.shared.sink).finish_non_exhaustive()
    }
}

/// What all threads of a writer see.
struct Shared {
    cipher: Cipher,
    chunker: Chunker,
    sink: Arc<dyn PackSink>,
    runtime: Handle,
    options: WriterOptions,
    claims: Claims,
    counters: Counters,
    packs: Mutex<Vec<PackId>>,
    /// Set once by the first error; everything ends then.
    failure: OnceLock<Arc<WriteError>>,
    poison: Arc<OnceLock<String>>,
    /// How many buffers may be on their way to the workers.
    buffers: Arc<Semaphore>,
    /// Buffers to be used again.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// Makes sure that a run never becomes a snapshot.
#[derive(Debug, Clone)]
pub struct Poison(Arc<OnceLock<String>>);

impl Poison {
    /// From now on the writer refuses everything, and above all to finish.
    pub fn set(&self, reason: impl Into<String>) {
        self.0.get_or_init(|| reason.into());
    }
}

impl Writer {
    /// Starts a writer that seals with `key` and hands its packs to `sink`, on `runtime`, which
    /// must run on threads of its own.
    ///
    /// # Errors
    ///
    /// [`WriteError::Gone`] when the system gives no threads.
    pub fn start(
        key: &MasterKey,
        sink: Arc<dyn PackSink>,
        runtime: Handle,
        options: WriterOptions,
    ) -> Result<Self, WriteError> {
        let shared = Arc::new(Shared {
            cipher: Cipher::new(key),
            chunker: Chunker::new(key),
            sink,
            runtime,
            options,
            claims: Claims::default(),
            counters: Counters::default(),
            packs: Mutex::default(),
            failure: OnceLock::new(),
            poison: Arc::default(),
            buffers: Arc::new(Semaphore::new(options.workers + 1)),
            spare: Mutex::default(),
        });
        let (jobs, todo) = crossbeam_channel::unbounded();
        let (uploads, packs) = crossbeam_channel::bounded(0);
        let trees = Mutex::new(trees::Queue::new(&shared).map_err(WriteError::Pack)?);
        let mut threads = Vec::new();
        for _ in 0..options.workers.max(1) {
            let worker = work::Worker::new(&shared, &uploads).map_err(WriteError::Pack)?;
            let todo = todo.clone();
            threads.push(spawn("pack", move || worker.run(&todo))?);
        }
        let mut uploaders = Vec::new();
        for _ in 0..options.uploads.max(1) {
            let (shared, packs) = (Arc::clone(&shared), packs.clone());
            uploaders.push(spawn("upload", move || shared.upload_all(&packs))?);
        }
        Ok(Self { shared, jobs, uploads, threads, uploaders, trees })
    }

    /// A handle by which anybody can keep this run from becoming a snapshot.
    pub fn poison(&self) -> Poison {
        Poison(Arc::clone(&self.shared.poison))
    }

    /// Which of the contents in `files` need not be read again, because all of their blobs are
    /// known: the same order, one answer a file.
    ///
    /// # Errors
    ///
    /// [`WriteError::Sink`] when the sink does not answer.
    pub async fn reuse(&self, files: &[&[BlobId]]) -> Result<Vec<bool>, WriteError> {
        self.shared.check()?;
        self.shared.reuse(files).await
    }

    /// [`Self::reuse`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::reuse`].
    pub fn reuse_blocking(&self, files: &[&[BlobId]]) -> Result<Vec<bool>, WriteError> {
        self.shared.runtime.block_on(self.reuse(files))
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }
}

impl Drop for Writer {
    /// A writer that is dropped has not finished: its threads end without uploading more.
    fn drop(&mut self) {
        self.poison().set("the writer was dropped before it was finished");
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, WriteError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|_gone| WriteError::Gone)
}

impl Shared {
    /// An error when the run cannot become a snapshot any more.
    fn check(&self) -> Result<(), WriteError> {
        if let Some(reason) = self.poison.get() {
            return Err(WriteError::Poisoned { reason: reason.clone() });
        }
        match self.failure.get() {
            Some(failure) => Err(WriteError::Failed(Arc::clone(failure))),
            None => Ok(()),
        }
    }

    /// Remembers the first error: everything ends with it.
    fn fail(&self, error: WriteError) {
        self.failure.get_or_init(|| Arc::new(error));
    }

    /// Why a worker's answer did not come.
    fn lost(&self) -> WriteError {
        self.check().err().unwrap_or(WriteError::Gone)
    }

    fn recipe(&self, kind: BlobKind) -> Recipe {
        let WriterOptions { pack_size: target, level, verify, .. } = self.options;
        Recipe { kind, target, level, verify }
    }

    fn upload_all(&self, packs: &crossbeam_channel::Receiver<SealedPack>) {
        for pack in packs {
            if self.check().is_err() {
                continue; // nothing more is to be seen of this run
            }
            let (id, size) = (pack.id, pack.bytes.len());
            match self.runtime.block_on(self.sink.put_pack(pack)) {
                Ok(()) => {
                    self.counters.stored(size);
                    self.packs.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                }
                Err(error) => self.fail(WriteError::Sink(error)),
            }
        }
    }

    async fn reuse(&self, files: &[&[BlobId]]) -> Result<Vec<bool>, WriteError> {
        let mut ids: Vec<BlobId> = files.iter().flat_map(|file| file.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !self.claims.has(id));
        for batch in ids.chunks(work::KNOWN_BATCH) {
            let known = self.sink.known(batch).await.map_err(WriteError::Sink)?;
            for (id, _) in batch.iter().zip(known).filter(|(_, known)| *known) {
                self.claims.claim(*id);
            }
        }
        let reused = files.iter().map(|file| file.iter().all(|id| self.claims.has(id)));
        let reused: Vec<bool> = reused.collect();
        for (file, _) in files.iter().zip(&reused).filter(|(_, reused)| **reused) {
            self.counters.file_reused(file.len());
        }
        Ok(reused)
    }
}

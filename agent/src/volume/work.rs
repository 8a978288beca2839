//! Work: a task done by a child that is locked in.

use std::{
    fs::File,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lazarette_core::{
    error::{Reason, ReasonedError},
    evidence::Evidence,
    units::ByteCount,
};
use lazarette_repo::{
    crypto::{CryptoError, MasterKey},
    reader::{Reader, ReaderOptions},
    tree::Node,
    writer::{WriteError, Writer, WriterOptions},
};
use rustix::fs::{Mode, OFlags};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::{
    child::Opened,
    content::Content,
    cuts::Compared,
    message::{Done, Report, Task, Written},
    packing::Packing,
    remote::Remote,
    restore::{Limits, RestoreError, restore},
    save::{Caches, SaveError, Saved, save},
};

/// Progress is told in steps of so many bytes.
const PROGRESS_STEP: u64 = 4 << 20;

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    /// The child cannot begin.
    #[error("begin to work")]
    Begin(#[source] std::io::Error),
    /// The key is none.
    #[error("take the key")]
    Key(#[source] CryptoError),
    /// The tree was not read.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// What was read is not durable.
    #[error("store what was read")]
    Write(#[source] WriteError),
    /// The tree was not written.
    #[error(transparent)]
    Restore(#[from] Box<RestoreError>),
    /// The parent gave something else than the task needs.
    #[error("begin to work: what was opened does not fit the task")]
    Opened,
}

impl ReasonedError for WorkError {
    fn reason(&self) -> Reason {
        match self {
            Self::Begin(_) | Self::Opened => Reason::Internal,
            Self::Key(_) => Reason::KeyWrong,
            Self::Save(error) => error.reason(),
            Self::Write(_) => Reason::StorageUnavailable,
            Self::Restore(error) => error.reason(),
        }
    }
}

/// Does `task` in the root directory, which is all that there is.
pub(crate) fn work(
    task: Task,
    opened: Opened,
    key: &Zeroizing<Vec<u8>>,
    remote: &Remote,
) -> Result<Done, WorkError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty());
    let root = root.map_err(|errno| WorkError::Begin(errno.into()))?;
    let progress = Progress { remote, untold: AtomicU64::new(0) };
    let done = match (task, opened) {
        (Task::Save { only, .. }, Opened::Caches(caches)) => {
            save_task((root, only), *caches, key, &progress)
        }
        (Task::Verify { only, .. }, Opened::Cuts(cuts)) => {
            verify_task((root, only), cuts, &progress)
        }
        (Task::Restore { root: node, entries, bytes, .. }, Opened::Cuts(cuts)) => {
            let limits = Limits { entries, bytes: bytes.0 };
            restore_task((root, cuts), (*node, limits), key, &progress)
        }
        _ => Err(WorkError::Opened),
    };
    progress.tell();
    done
}

/// Bytes that are done, told now and then.
struct Progress<'a> {
    remote: &'a Remote,
    untold: AtomicU64,
}

impl Progress<'_> {
    fn add(&self, bytes: u64) {
        let untold = self.untold.fetch_add(bytes, Ordering::Relaxed);
        if untold.saturating_add(bytes) >= PROGRESS_STEP {
            self.tell();
        }
    }

    fn tell(&self) {
        match self.untold.swap(0, Ordering::Relaxed) {
            0 => {}
            bytes => self.remote.progress(bytes),
        }
    }

    fn note(&self, text: String) {
        self.remote.say(&Report::Note(text));
    }
}

/// Drives the two seams; the work itself has threads of its own.
fn runtime() -> Result<Runtime, WorkError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().map_err(WorkError::Begin)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn save_task(
    (root, only): (OwnedFd, Vec<Vec<u8>>),
    caches: Caches,
    key: &[u8],
    progress: &Progress<'_>,
) -> Result<Done, WorkError> {
    let key = MasterKey::from_bytes(key).map_err(WorkError::Key)?;
    let runtime = runtime()?;
    // Each worker and each upload holds a pack: this is most of the child's memory.
    let options =
        WriterOptions { workers: processors().clamp(1, 3), uploads: 2, ..Default::default() };
    let sink = Arc::new(progress.remote.clone());
    let writer = Writer::start(&key, sink, runtime.handle().clone(), options);
    let writer = writer.map_err(WorkError::Write)?;
    let packing = Packing::new(&writer, |bytes| progress.add(bytes));
    // These wait for the writer's workers, but for large files, which they read.
    let threads = options.workers + 2;
    let saved = walk_through((root, only), &packing, caches, threads, progress)?;
    let written = writer.finish_blocking().map_err(WorkError::Write)?.stats;
    Ok(Done {
        root: Some(saved.root.clone()),
        written: Some(Written {
            new: ByteCount(written.bytes_new),
            stored: ByteCount(written.bytes_stored),
        }),
        ..done(&saved)
    })
}

fn verify_task(
    (root, only): (OwnedFd, Vec<Vec<u8>>),
    cuts: File,
    progress: &Progress<'_>,
) -> Result<Done, WorkError> {
    let compared = Compared::with(cuts, |bytes| progress.add(bytes)).map_err(WorkError::Begin)?;
    let threads = processors().clamp(1, 4);
    let saved = walk_through((root, only), &compared, Caches::default(), threads, progress)?;
    Ok(done(&saved))
}

fn walk_through(
    (root, only): (OwnedFd, Vec<Vec<u8>>),
    content: &dyn Content,
    caches: Caches,
    threads: usize,
    progress: &Progress<'_>,
) -> Result<Saved, SaveError> {
    let mut note = |text| progress.note(text);
    save(root, only, content, caches, (threads, &mut note))
}

fn done(saved: &Saved) -> Done {
    Done {
        root: None,
        evidence: saved.evidence.clone(),
        bytes: ByteCount(saved.bytes),
        allocated: ByteCount(saved.allocated),
        entries: saved.entries,
        unchanged: saved.unchanged,
        written: None,
    }
}

fn restore_task(
    (root, cuts): (OwnedFd, File),
    (node, limits): (Node, Limits),
    key: &[u8],
    progress: &Progress<'_>,
) -> Result<Done, WorkError> {
    let key = MasterKey::from_bytes(key).map_err(WorkError::Key)?;
    let runtime = runtime()?;
    let source = Arc::new(progress.remote.clone());
    let reader = Reader::new(&key, source, runtime.handle().clone(), ReaderOptions::default());
    let add = |bytes| progress.add(bytes);
    let mut note = |text| progress.note(text);
    restore(&reader, node, (root, cuts), limits, (&add, &mut note)).map_err(Box::new)?;
    Ok(Done {
        root: None,
        evidence: Evidence::default(),
        bytes: ByteCount(0),
        allocated: ByteCount(0),
        entries: 0,
        unchanged: 0,
        written: None,
    })
}

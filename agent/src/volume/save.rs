//! Saving: a tree on disk read by several threads, and handed on in the order of its paths.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use lazarette_core::{
    error::{Reason, ReasonedError},
    evidence::Evidence,
};
use lazarette_repo::tree::Node;

use super::{
    cache::{CacheReader, CacheWriter, CachedFile},
    content::{Content, FileRead, ReadError, TakeError},
    inode::Inode,
    packing::SMALL,
    walk::{FileFound, Walk, WalkError},
};

mod line;
mod maker;

use self::{line::Line, maker::TreeMaker};

/// Small files go to a thread together.
const BATCH_FILES: usize = 64;
/// Why a tree was not saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    /// Something in it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A directory was not taken.
    #[error("save the directory `{path}`")]
    Tree {
        /// From the root.
        path: String,
        /// Why.
        #[source]
        source: TakeError,
    },
    /// A thread is gone.
    #[error("save a tree: a thread ended early")]
    Thread,
}

impl ReasonedError for SaveError {
    fn reason(&self) -> Reason {
        match self {
            Self::Read(error) => error.reason(),
            Self::Tree { source, .. } => source.reason(),
            Self::Thread => Reason::Internal,
        }
    }
}

/// What was read last time, and where to write what is read now.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    /// Of the last time.
    pub(crate) old: Option<CacheReader<BufReader<File>>>,
    /// Of this time.
    pub(crate) new: Option<CacheWriter<BufWriter<File>>>,
}

/// A tree that was read.
#[derive(Debug)]
pub(crate) struct Saved {
    /// The root's own entry.
    pub(crate) root: Node,
    /// What was counted.
    pub(crate) evidence: Evidence,
    /// Of its content.
    pub(crate) bytes: u64,
    /// What it takes on disk.
    pub(crate) allocated: u64,
    /// Its entries, the root included.
    pub(crate) entries: u64,
    /// Files that were not read because they had not changed.
    pub(crate) unchanged: u64,
}

/// What came of a file.
#[derive(Debug)]
enum FileDone {
    Read(Box<FileRead>),
    Known(Inode, Box<CachedFile>),
    Gone,
}

/// What a thread is to do.
#[derive(Debug)]
enum Job {
    Read(Vec<(u64, FileFound)>),
    Known(Vec<(u64, FileFound, Box<CachedFile>)>),
}

type Outcome = (u64, Result<FileDone, ReadError>);

/// Reads the tree at `root`, or what is at and below `only`, with `threads`.
pub(crate) fn save(
    root: OwnedFd,
    only: Vec<Vec<u8>>,
    content: &dyn Content,
    mut caches: Caches,
    (threads, note): (usize, &mut dyn FnMut(String)),
) -> Result<Saved, SaveError> {
    // Writes back what is dirty only in memory, mapped pages among it: whoever stores into one
    // after this makes the kernel note the time (H8).
    rustix::fs::syncfs(&root).map_err(WalkError::call("sync", b"")).map_err(ReadError::Walk)?;
    let (jobs, to_do) = mpsc::sync_channel::<Job>(2 * threads);
    let (done, outcomes) = mpsc::channel::<Vec<Outcome>>();
    let to_do = Mutex::new(to_do);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (to_do, done) = (&to_do, done.clone());
            scope.spawn(move || work(to_do, &done, content));
        }
        drop(done);
        let mut line = Line::new(jobs);
        let mut tree = TreeMaker::new(content, note, caches.new.take());
        line.run(Walk::of(root, only), caches.old.as_mut(), &outcomes, &mut tree)?;
        tree.finish()
    })
}

/// What each thread does.
fn work(
    to_do: &Mutex<mpsc::Receiver<Job>>,
    done: &mpsc::Sender<Vec<Outcome>>,
    content: &dyn Content,
) {
    loop {
        let job = to_do.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let outcomes = match job {
            Job::Read(files) => read(files, content),
            Job::Known(files) => look_up(files, content),
        };
        if done.send(outcomes).is_err() {
            return;
        }
    }
}

fn read(files: Vec<(u64, FileFound)>, content: &dyn Content) -> Vec<Outcome> {
    let (turns, found): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let outcomes = content
        .take(&found)
        .into_iter()
        .map(|outcome| Ok(outcome?.map_or(FileDone::Gone, |read| FileDone::Read(Box::new(read)))));
    turns.into_iter().zip(outcomes).collect()
}

/// Asks whether what these files were is still to be had, and reads those of which it is not.
fn look_up(files: Vec<(u64, FileFound, Box<CachedFile>)>, content: &dyn Content) -> Vec<Outcome> {
    let ids: Vec<_> = files.iter().map(|(.., cached)| cached.content.as_slice()).collect();
    let reused = match content.reuse(&ids) {
        Ok(reused) => reused,
        Err(source) => {
            let first = files.first();
            let error = first.map(|(turn, found, _)| (*turn, Err(ReadError::take(found, source))));
            return error.into_iter().collect();
        }
    };
    let mut outcomes = Vec::with_capacity(files.len());
    let mut to_read = Vec::new();
    for ((turn, found, cached), reused) in files.into_iter().zip(reused) {
        if reused {
            content.progress(found.inode.size);
            outcomes.push((turn, Ok(FileDone::Known(found.inode, cached))));
            continue;
        }
        if found.inode.size > SMALL {
            outcomes.extend(read(vec![(turn, found)], content));
            continue;
        }
        to_read.push((turn, found));
    }
    for batch in to_read.chunks(BATCH_FILES) {
        outcomes.extend(read(batch.to_vec(), content));
    }
    outcomes
}

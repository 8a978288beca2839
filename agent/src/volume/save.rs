//! Saving: a tree on disk read by several threads, and handed on in the order of its paths.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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
use lazarette_repo::{
    id::BlobId,
    tree::{Node, Xattr},
};

use super::{
    cache::{CacheReader, CacheWriter, CachedFile},
    content::{Content, FileRead, ReadError, TakeError},
    inode::{FileTime, Inode},
    listing::Listing,
    packing::SMALL,
    walk::{FileFound, Step, Walk, WalkError, shown},
};

/// How far the walk runs ahead of the slowest file: its names and metadata are held in memory.
const WINDOW: usize = 4096;
/// Small files go to a thread together.
const BATCH_FILES: usize = 64;
/// Files of this size in all are enough for a batch.
const BATCH_BYTES: u64 = 3 << 20;
/// Ids that are asked for at once.
const BATCH_IDS: usize = 400;
/// A file that was changed so shortly before it was read may change again with the same time: some
/// file systems count in steps of two seconds.
const SETTLED_MILLIS: i64 = 2000;

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

/// A step that waits for its turn.
#[derive(Debug)]
enum Pending {
    Step(Step),
    /// Not read yet.
    File(FileFound),
    Done(FileFound, FileDone),
    /// Another name of a file whose first one comes before.
    Named(FileFound),
}

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
        let mut line = Line {
            queue: VecDeque::new(),
            popped: 0,
            reads: Vec::new(),
            reads_bytes: 0,
            knowns: Vec::new(),
            jobs,
            seen: HashSet::new(),
        };
        let mut tree = TreeMaker {
            content,
            note,
            stack: Vec::new(),
            names: HashMap::new(),
            listing: Listing::default(),
            new_cache: caches.new.take(),
            allocated: 0,
            unchanged: 0,
            done: None,
        };
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

/// The steps on their way, in the order of the walk.
#[derive(Debug)]
struct Line {
    queue: VecDeque<Pending>,
    /// How many have left it: the turn of the first one in it.
    popped: u64,
    reads: Vec<(u64, FileFound)>,
    reads_bytes: u64,
    knowns: Vec<(u64, FileFound, Box<CachedFile>)>,
    jobs: mpsc::SyncSender<Job>,
    /// Files with several names, of which one is on its way.
    seen: HashSet<(u64, u64)>,
}

impl Line {
    fn run(
        &mut self,
        mut walk: Walk,
        mut cache: Option<&mut CacheReader<BufReader<File>>>,
        outcomes: &mpsc::Receiver<Vec<Outcome>>,
        tree: &mut TreeMaker<'_>,
    ) -> Result<(), SaveError> {
        let mut is_walked = false;
        loop {
            self.advance(tree)?;
            if is_walked && self.queue.is_empty() {
                return Ok(());
            }
            if !is_walked && self.queue.len() < WINDOW {
                match walk.next(tree.note).map_err(ReadError::Walk)? {
                    Some(step) => self.push(step, cache.as_deref_mut())?,
                    None => is_walked = true,
                }
                while let Ok(outcomes) = outcomes.try_recv() {
                    self.settle(outcomes)?;
                }
                continue;
            }
            self.send_reads()?;
            self.send_knowns()?;
            if matches!(self.queue.front(), Some(Pending::File(_))) {
                self.settle(outcomes.recv().map_err(|_gone| SaveError::Thread)?)?;
            }
        }
    }

    fn push(
        &mut self,
        step: Step,
        cache: Option<&mut CacheReader<BufReader<File>>>,
    ) -> Result<(), SaveError> {
        let found = match step {
            Step::File(found) => found,
            Step::Enter(_) | Step::Special(_) | Step::Leave => {
                self.queue.push_back(Pending::Step(step));
                return Ok(());
            }
        };
        let inode = &found.inode;
        let is_named = inode.links > 1 && !self.seen.insert((inode.device, inode.number));
        let turn = self.popped + u64::try_from(self.queue.len()).unwrap_or(0);
        let cached = cache.and_then(|cache| cache.find(&found.path));
        if is_named {
            self.queue.push_back(Pending::Named(found));
            return Ok(());
        }
        self.queue.push_back(Pending::File(found.clone()));
        match cached.filter(|cached| cached.is_still(inode)) {
            Some(cached) => {
                self.knowns.push((turn, found, Box::new(cached)));
                let ids: usize = self.knowns.iter().map(|(.., it)| it.content.len()).sum();
                if ids >= BATCH_IDS || self.knowns.len() >= BATCH_IDS {
                    self.send_knowns()?;
                }
            }
            // A large one goes alone, to be streamed.
            None if inode.size > SMALL => self.send(Job::Read(vec![(turn, found)]))?,
            None => {
                self.reads_bytes += found.inode.size;
                self.reads.push((turn, found));
                if self.reads.len() >= BATCH_FILES || self.reads_bytes >= BATCH_BYTES {
                    self.send_reads()?;
                }
            }
        }
        Ok(())
    }

    fn send_reads(&mut self) -> Result<(), SaveError> {
        self.reads_bytes = 0;
        let files = std::mem::take(&mut self.reads);
        self.send(Job::Read(files))
    }

    fn send_knowns(&mut self) -> Result<(), SaveError> {
        let files = std::mem::take(&mut self.knowns);
        self.send(Job::Known(files))
    }

    fn send(&self, job: Job) -> Result<(), SaveError> {
        let is_empty = match &job {
            Job::Read(files) => files.is_empty(),
            Job::Known(files) => files.is_empty(),
        };
        if is_empty {
            return Ok(());
        }
        self.jobs.send(job).map_err(|_gone| SaveError::Thread)
    }

    fn settle(&mut self, outcomes: Vec<Outcome>) -> Result<(), SaveError> {
        for (turn, outcome) in outcomes {
            let done = outcome?;
            let at = usize::try_from(turn.saturating_sub(self.popped)).unwrap_or(usize::MAX);
            let Some(slot) = self.queue.get_mut(at) else { return Err(SaveError::Thread) };
            let Pending::File(found) = slot else { return Err(SaveError::Thread) };
            *slot = Pending::Done(found.clone(), done);
        }
        Ok(())
    }

    /// Hands on everything up to the first file that is not read yet.
    fn advance(&mut self, tree: &mut TreeMaker<'_>) -> Result<(), SaveError> {
        while !matches!(self.queue.front(), None | Some(Pending::File(_))) {
            self.popped += 1;
            match self.queue.pop_front() {
                Some(Pending::Step(step)) => tree.step(step)?,
                Some(Pending::Done(found, done)) => tree.file(&found, done),
                Some(Pending::Named(found)) => tree.named(&found)?,
                Some(Pending::File(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Makes directories of what comes in the order of the walk.
struct TreeMaker<'a> {
    content: &'a dyn Content,
    note: &'a mut dyn FnMut(String),
    stack: Vec<(Node, Vec<Node>)>,
    /// Files with several names, by file system and number.
    names: HashMap<(u64, u64), FirstName>,
    listing: Listing,
    new_cache: Option<CacheWriter<BufWriter<File>>>,
    allocated: u64,
    unchanged: u64,
    done: Option<Node>,
}

#[derive(Clone, Debug)]
struct FirstName {
    inode: Inode,
    attributes: Vec<Xattr>,
    ids: Vec<BlobId>,
    size: u64,
    /// When it was read, for the cache; nothing when it must not be in there.
    began: Option<FileTime>,
}

impl TreeMaker<'_> {
    fn step(&mut self, step: Step) -> Result<(), SaveError> {
        match step {
            Step::Enter(node) => {
                self.listing.enter(&node);
                self.stack.push((node, Vec::new()));
            }
            Step::Special(node) => {
                self.listing.special(&node);
                self.add(node);
            }
            Step::Leave => {
                self.listing.leave();
                let Some((mut node, nodes)) = self.stack.pop() else { return Ok(()) };
                node.subtree = Some(self.tree(nodes)?);
                if self.stack.is_empty() {
                    self.done = Some(node);
                } else {
                    self.add(node);
                }
            }
            Step::File(_) => {}
        }
        Ok(())
    }

    fn file(&mut self, found: &FileFound, done: FileDone) {
        let first = match done {
            FileDone::Gone => {
                (self.note)(format!("`{}` went away before it was read", shown(&found.path)));
                return;
            }
            FileDone::Known(inode, cached) => {
                self.unchanged += 1;
                self.keep(&cached);
                let CachedFile { attributes, content: ids, size, .. } = *cached;
                FirstName { inode, attributes, ids, size, began: None }
            }
            FileDone::Read(read) => {
                for note in read.notes {
                    (self.note)(note);
                }
                let taken = read.taken;
                let began = (!read.changed).then_some(read.began);
                let first = FirstName {
                    inode: read.inode,
                    attributes: read.attributes,
                    ids: taken.ids,
                    size: taken.size,
                    began,
                };
                self.keep_read(found, &first);
                first
            }
        };
        self.put(found, &first);
        self.allocated += first.inode.allocated;
        if first.inode.links > 1 {
            self.names.insert((found.inode.device, found.inode.number), first);
        }
    }

    /// Another name of a file.
    fn named(&mut self, found: &FileFound) -> Result<(), SaveError> {
        let Some(first) = self.names.get(&(found.inode.device, found.inode.number)).cloned() else {
            // The first name was gone before it was read; this is the first one then.
            for (_, done) in read(vec![(0, found.clone())], self.content) {
                self.file(found, done?);
            }
            return Ok(());
        };
        self.keep_read(found, &first);
        self.put(found, &first);
        Ok(())
    }

    fn put(&mut self, found: &FileFound, first: &FirstName) {
        let mut node = first.inode.node(&found.name, first.attributes.clone());
        node.size = first.size;
        self.listing.file(&node, &first.ids);
        node.content = Some(first.ids.clone());
        self.add(node);
    }

    fn add(&mut self, node: Node) {
        if let Some((_, nodes)) = self.stack.last_mut() {
            nodes.push(node);
        }
    }

    fn tree(&self, nodes: Vec<Node>) -> Result<BlobId, SaveError> {
        let path = || {
            let names: Vec<_> = self.stack.iter().skip(1).map(|(node, _)| &*node.name).collect();
            shown(&names.join(&b'/'))
        };
        self.content.tree(nodes).map_err(|source| SaveError::Tree { path: path(), source })
    }

    /// Keeps what was read in the cache, if it can be trusted the next time.
    fn keep_read(&mut self, found: &FileFound, first: &FirstName) {
        let inode = &first.inode;
        let settled = |began: FileTime| inode.ctime.millis_until(began) >= SETTLED_MILLIS;
        if !first.began.is_some_and(settled) || self.new_cache.is_none() {
            return;
        }
        let file = CachedFile {
            path: found.path.clone(),
            device: inode.device,
            number: inode.number,
            size: inode.size,
            mtime: inode.mtime,
            ctime: inode.ctime,
            attributes: first.attributes.clone(),
            content: first.ids.clone(),
        };
        self.keep(&file);
    }

    fn keep(&mut self, file: &CachedFile) {
        let Some(cache) = &mut self.new_cache else { return };
        if let Err(error) = cache.push(file) {
            (self.note)(format!("the cache of unchanged files cannot be written: {error}"));
            self.new_cache = None;
        }
    }

    fn finish(mut self) -> Result<Saved, SaveError> {
        let root = self.done.ok_or(SaveError::Thread)?;
        if let Some(cache) = self.new_cache.take() {
            let written = cache.finish().and_then(|file| file.into_inner().map_err(Into::into));
            if let Err(error) = written.and_then(|file| file.sync_all()) {
                (self.note)(format!("the cache of unchanged files cannot be written: {error}"));
            }
        }
        let (evidence, bytes) = (self.listing.evidence(), self.listing.bytes());
        let (allocated, entries) = (self.allocated, self.listing.entries());
        Ok(Saved { root, evidence, bytes, allocated, entries, unchanged: self.unchanged })
    }
}

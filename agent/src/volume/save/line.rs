//! Line: what was found and is not handed on yet, in the order in which it was found.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io::BufReader,
    sync::mpsc,
};

use super::{BATCH_FILES, FileDone, Job, Outcome, SaveError, maker::TreeMaker};
use crate::volume::{
    cache::{CacheReader, CachedFile},
    content::ReadError,
    packing::SMALL,
    walk::{FileFound, Step, Walk},
};

/// How far the walk runs ahead of the slowest file: its names and metadata are held in memory.
const WINDOW: usize = 4096;
/// Files of this size in all are enough for a batch.
const BATCH_BYTES: u64 = 3 << 20;
/// Ids that are asked for at once.
const BATCH_IDS: usize = 400;

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

/// The steps on their way, in the order of the walk.
#[derive(Debug)]
pub(super) struct Line {
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
    /// An empty one, which gives work to whoever takes `jobs`.
    pub(super) fn new(jobs: mpsc::SyncSender<Job>) -> Self {
        Self {
            queue: VecDeque::new(),
            popped: 0,
            reads: Vec::new(),
            reads_bytes: 0,
            knowns: Vec::new(),
            jobs,
            seen: HashSet::new(),
        }
    }

    /// Walks to the end, and hands on everything.
    pub(super) fn run(
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

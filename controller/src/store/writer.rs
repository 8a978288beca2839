//! Writer: the one thread that changes the database, many batches at a time.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::batch::{Batch, Effect};
use super::engine::{Engine, HEAD, Head};
use super::error::{Failure, KeyText};
use super::mark::Mark;
use super::record;

/// How many batches are written together at most.
const GROUP_BATCHES: usize = 256;
/// With so many bytes a group takes no further batch.
const GROUP_BYTES: usize = 1024 * 1024;

/// A batch and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// The one that changes the database.
#[derive(Debug)]
pub(super) struct Writer {
    engine: Arc<Engine>,
    head: Head,
    mark: Mark,
    queue: mpsc::Receiver<Request>,
}

/// What a group changes, and what each of its batches will hear.
#[derive(Debug)]
struct Staged {
    head: Head,
    values: HashMap<Vec<u8>, Option<Bytes>>,
    verdicts: Vec<Result<(), StoreError>>,
}

impl Writer {
    pub(super) fn new(
        engine: Arc<Engine>,
        head: Head,
        mark: Mark,
        queue: mpsc::Receiver<Request>,
    ) -> Self {
        Self { engine, head, mark, queue }
    }

    /// Writes until everybody who could ask is gone.
    ///
    /// Nobody waits for a group to fill: while one is being synced the next one gathers.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let group = self.gather(first);
            let (batches, answers): (Vec<_>, Vec<_>) =
                group.into_iter().map(|request| (request.batch, request.answer)).unzip();
            let verdicts = self.commit(&batches);
            for (answer, verdict) in answers.into_iter().zip(verdicts) {
                if answer.send(verdict).is_err() {
                    tracing::trace!("nobody waited for a batch");
                }
            }
        }
    }

    fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = first.batch.bytes();
        let mut group = vec![first];
        while group.len() < GROUP_BATCHES
            && bytes < GROUP_BYTES
            && let Ok(request) = self.queue.try_recv()
        {
            bytes += request.batch.bytes();
            group.push(request);
        }
        group
    }

    /// One verdict for each batch, in their order.
    fn commit(&mut self, batches: &[Batch]) -> Vec<Result<(), StoreError>> {
        let verdicts = self
            .engine
            .check()
            .and_then(|()| self.engine.admit())
            .and_then(|()| self.stage(batches))
            .and_then(|staged| self.apply(staged));
        match verdicts {
            Ok(verdicts) => {
                self.count(&verdicts);
                verdicts
            }
            Err(error) => vec![Err(error); batches.len()],
        }
    }

    /// Decides what each batch does, one after another; changes nothing.
    fn stage(&self, batches: &[Batch]) -> Result<Staged, StoreError> {
        let mut staged =
            Staged { head: self.head.clone(), values: HashMap::new(), verdicts: Vec::new() };
        for batch in batches {
            let verdict = self.stage_batch(batch, &mut staged)?;
            staged.verdicts.push(verdict);
        }
        Ok(staged)
    }

    fn stage_batch(
        &self,
        batch: &Batch,
        staged: &mut Staged,
    ) -> Result<Result<(), StoreError>, StoreError> {
        let mut currents = Vec::with_capacity(batch.changes().len());
        for change in batch.changes() {
            let current = self.current(&change.key, staged)?;
            if !change.expected.holds(current.as_deref()) {
                return Ok(Err(StoreError::Conflict { key: KeyText::of(&change.key) }));
            }
            currents.push(current);
        }
        for (change, current) in batch.changes().iter().zip(currents) {
            let next = match &change.effect {
                Effect::Keep => continue,
                Effect::Put(value) => Some(value.clone()),
                Effect::Delete => None,
            };
            if next == current {
                continue;
            }
            let digest = &mut staged.head.digest;
            if let Some(value) = &current {
                digest.subtract(&change.key, value);
            }
            if let Some(value) = &next {
                digest.add(&change.key, value);
            }
            staged.values.insert(change.key.clone(), next);
        }
        Ok(Ok(()))
    }

    fn current(&self, key: &[u8], staged: &Staged) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = staged.values.get(key) {
            return Ok(value.clone());
        }
        let value = self.engine.read("read a value before it is changed", |db| db.get(key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Makes it durable, then says so.
    fn apply(&mut self, mut staged: Staged) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if staged.values.is_empty() {
            return Ok(staged.verdicts);
        }
        staged.head.sequence += 1;
        let mut changes = sled::Batch::default();
        for (key, value) in staged.values {
            match value {
                Some(value) => changes.insert(key, value.as_ref()),
                None => changes.remove(key),
            }
        }
        let head = record::encode(HEAD, &staged.head).map_err(|error| Failure::Io {
            doing: "write the store's own record",
            source: io::Error::other(error),
        });
        changes.insert(HEAD, self.engine.or_fail(head)?);
        self.engine.write(changes)?;
        let marked = self.mark.write(staged.head.sequence);
        self.engine.or_fail(
            marked.map_err(|source| Failure::Io { doing: "write the mark file", source }),
        )?;
        self.head = staged.head;
        self.engine.counting().groups.fetch_add(1, Ordering::Relaxed);
        Ok(staged.verdicts)
    }

    fn count(&self, verdicts: &[Result<(), StoreError>]) {
        let counting = self.engine.counting();
        for verdict in verdicts {
            let counter = if verdict.is_ok() { &counting.commits } else { &counting.conflicts };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

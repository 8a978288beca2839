//! Blobs: a row of blobs, read ahead by threads, given out in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};

use crate::id::BlobId;
use crate::index::BlobLocation;
use crate::pack::PackError;
use crate::pack::blob::Opener;
use crate::reader::plan::{self, Segment};
use crate::reader::{ReadError, Reader};

/// How many blobs are located at once.
const LOCATE: usize = 512;

/// What a thread makes of a segment.
type Read = Result<Vec<Vec<u8>>, ReadError>;

/// A row of blobs. Each is what its id says; after an error there are no more.
pub struct Blobs {
    /// What the threads give, in order.
    order: mpsc::UnboundedReceiver<oneshot::Receiver<Read>>,
    /// Buffers to be used again; one such message lets a thread read one more segment.
    tokens: Sender<Vec<Vec<u8>>>,
    ready: VecDeque<Vec<u8>>,
    used: Vec<Vec<u8>>,
    current: Option<Vec<u8>>,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

/// What is still to be read, seen by all threads.
struct Todo {
    ids: std::vec::IntoIter<BlobId>,
    located: VecDeque<(BlobId, BlobLocation)>,
    order: mpsc::UnboundedSender<oneshot::Receiver<Read>>,
    has_failed: bool,
}

impl Blobs {
    pub(super) fn start(reader: &Reader, ids: Vec<BlobId>) -> Self {
        let (order, receiver) = mpsc::unbounded_channel();
        let ahead = reader.options.ahead.max(1);
        let (tokens, permits) = crossbeam_channel::bounded(ahead);
        for _ in 0..ahead {
            // There is room for so many.
            drop(tokens.send(Vec::new()));
        }
        let count = reader.options.threads.clamp(1, ids.len().max(1));
        let todo =
            Todo { ids: ids.into_iter(), located: VecDeque::new(), order, has_failed: false };
        let todo = Arc::new(Mutex::new(todo));
        for _ in 0..count {
            let (reader, todo, permits) = (reader.clone(), Arc::clone(&todo), permits.clone());
            // Without any thread the channel closes, and whoever waits learns that it is gone.
            let work = move || reader.work(&todo, &permits);
            drop(std::thread::Builder::new().name("read".to_owned()).spawn(work));
        }
        Self { order: receiver, tokens, ready: VecDeque::new(), used: Vec::new(), current: None }
    }

    /// The next blob; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`ReadError`], after which there are no more.
    pub async fn next(&mut self) -> Option<Result<&[u8], ReadError>> {
        while self.step().is_none() {
            let segment = match self.order.recv().await {
                None => return None,
                Some(segment) => segment.await,
            };
            if let Err(error) = self.arrived(segment) {
                return Some(Err(error));
            }
        }
        self.current.as_deref().map(Ok)
    }

    /// [`Self::next`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::next`].
    pub fn next_blocking(&mut self) -> Option<Result<&[u8], ReadError>> {
        while self.step().is_none() {
            let segment = match self.order.blocking_recv() {
                None => return None,
                Some(segment) => segment.blocking_recv(),
            };
            if let Err(error) = self.arrived(segment) {
                return Some(Err(error));
            }
        }
        self.current.as_deref().map(Ok)
    }

    /// Makes the next blob that is here the current one.
    fn step(&mut self) -> Option<()> {
        self.used.extend(self.current.take());
        self.current = self.ready.pop_front();
        self.current.as_ref().map(|_| ())
    }

    fn arrived(
        &mut self,
        segment: Result<Read, oneshot::error::RecvError>,
    ) -> Result<(), ReadError> {
        let read = segment.map_err(|_gone| ReadError::Gone).and_then(|read| read);
        match read {
            Ok(blobs) => {
                // The segment before is consumed: its buffers let a thread go on.
                if !self.used.is_empty() {
                    drop(self.tokens.try_send(std::mem::take(&mut self.used)));
                }
                self.ready.extend(blobs);
                Ok(())
            }
            Err(error) => {
                self.order.close();
                while self.order.try_recv().is_ok() {}
                Err(error)
            }
        }
    }
}

impl Reader {
    /// Reads segments until there are no more, or nobody wants them.
    fn work(&self, todo: &Mutex<Todo>, permits: &Receiver<Vec<Vec<u8>>>) {
        let mut opener = Opener::new(self.cipher.clone());
        while let Ok(buffers) = permits.recv() {
            let Some((segment, reply)) = self.plan(todo) else { return };
            let read = segment.and_then(|segment| self.segment(&segment, &mut opener, buffers));
            if read.is_err() {
                todo.lock().unwrap_or_else(PoisonError::into_inner).has_failed = true;
            }
            drop(reply.send(read));
        }
    }

    /// Takes the next segment; its place in the order is taken at the same moment.
    fn plan(
        &self,
        todo: &Mutex<Todo>,
    ) -> Option<(Result<Segment, ReadError>, oneshot::Sender<Read>)> {
        let mut todo = todo.lock().unwrap_or_else(PoisonError::into_inner);
        if todo.has_failed {
            return None;
        }
        let segment = match self.locate(&mut todo) {
            Ok(()) => Ok(plan::next(&mut todo.located)?),
            Err(error) => {
                todo.has_failed = true;
                Err(error)
            }
        };
        let (reply, answer) = oneshot::channel();
        todo.order.send(answer).ok()?;
        Some((segment, reply))
    }

    /// Sees that there are located blobs, as long as there are any to locate.
    fn locate(&self, todo: &mut Todo) -> Result<(), ReadError> {
        if todo.located.len() >= LOCATE / 2 {
            return Ok(());
        }
        let ids: Vec<_> = todo.ids.by_ref().take(LOCATE).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let places = self.runtime.block_on(self.source.locate(&ids)).map_err(ReadError::Locate)?;
        for (index, id) in ids.iter().enumerate() {
            let place = places.get(index).copied().flatten();
            todo.located.push_back((*id, place.ok_or(ReadError::Missing { blob: *id })?));
        }
        Ok(())
    }

    fn segment(
        &self,
        segment: &Segment,
        opener: &mut Result<Opener, PackError>,
        mut buffers: Vec<Vec<u8>>,
    ) -> Read {
        let read = self.source.read_pack(segment.pack, segment.range.clone());
        let bytes = self.runtime.block_on(read).map_err(|source| match segment.blobs.first() {
            Some((blob, _)) => ReadError::Pack { blob: *blob, pack: segment.pack, source },
            None => ReadError::Locate(source),
        })?;
        // Usually nobody else has these bytes, and they need not be copied.
        let mut sealed = match bytes.try_into_mut() {
            Ok(sealed) => sealed,
            Err(shared) => bytes::BytesMut::from(shared.as_ref()),
        };
        let mut plain = Vec::with_capacity(segment.blobs.len());
        for (id, place) in &segment.blobs {
            let span = plan::span(place);
            let within = |position: u64| {
                usize::try_from(position - segment.range.start).unwrap_or(usize::MAX)
            };
            let sealed = sealed.get_mut(within(span.start)..within(span.end)).unwrap_or_default();
            let buffer = buffers.pop().unwrap_or_default();
            plain.push(super::open(opener, *id, place, sealed, buffer)?);
        }
        Ok(plain)
    }
}

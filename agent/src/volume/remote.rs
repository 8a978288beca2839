//! Remote: the child's ends of the two seams. What they are asked goes up the pipe, and the answer
//! comes down it.

use std::{
    collections::HashMap,
    io::{Read, Write},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use async_trait::async_trait;
use bytes::Bytes;
use lazarette_core::units::ByteCount;
use lazarette_repo::{
    id::{BlobId, PackId},
    index::BlobLocation,
    pack::SealedPack,
    sink::{PackSink, SinkError},
    source::{PackSource, SourceError},
};
use tokio::sync::oneshot;

use super::{
    frame::Frame,
    message::{Order, PipeError, Report},
};

/// Frames that wait for the pipe: enough to keep it busy, few enough to hold two packs at most.
const WAITING_FRAMES: usize = 2;

type Answer = (Order, Bytes);
type Waiting = Arc<Mutex<HashMap<u32, oneshot::Sender<Answer>>>>;

/// The child's end of the pipe; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    out: mpsc::SyncSender<Out>,
    waiting: Waiting,
    next: Arc<AtomicU32>,
}

/// What goes to the thread that writes.
#[derive(Debug)]
enum Out {
    Frame(Frame),
    /// Everything before it is written when this is dropped.
    Flush(#[expect(dead_code, reason = "only its end is waited for")] mpsc::Sender<()>),
}

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("ask the agent")]
    Pipe(#[from] PipeError),
    #[error("{why}")]
    Refused { why: String, transient: bool },
}

impl Remote {
    /// Over a pipe whose first message was read already. `gone` is called when the parent is.
    ///
    /// The threads that it starts end with the pipe, which is with the process.
    pub(crate) fn over(
        mut from_parent: impl Read + Send + 'static,
        mut to_parent: impl Write + Send + 'static,
        gone: impl FnOnce(&PipeError) + Send + 'static,
    ) -> Self {
        let (out, frames) = mpsc::sync_channel::<Out>(WAITING_FRAMES);
        let waiting = Waiting::default();
        let answers = Arc::clone(&waiting);
        thread::spawn(move || {
            let error = loop {
                match Frame::read_from(&mut from_parent) {
                    Ok(Some(frame)) => match frame.open::<Order>() {
                        Ok((order, body)) => deliver(&answers, order, body),
                        Err(error) => break PipeError::Frame(error),
                    },
                    Ok(None) => break PipeError::Gone,
                    Err(error) => break PipeError::Frame(error),
                }
            };
            gone(&error);
        });
        thread::spawn(move || {
            for out in frames {
                let Out::Frame(frame) = out else { continue };
                if frame.write_to(&mut to_parent).is_err() {
                    return; // the reader finds the parent gone
                }
            }
        });
        Self { out, waiting, next: Arc::default() }
    }

    /// Says something that has no answer.
    pub(crate) fn say(&self, report: &Report) {
        let sent = Frame::new(report, Bytes::new()).map(|frame| self.out.send(Out::Frame(frame)));
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("the agent is gone, or will not hear of this");
        }
    }

    /// Says the last thing, and waits until it is on the pipe.
    pub(crate) fn say_last(&self, report: &Report) {
        self.say(report);
        let (sender, flushed) = mpsc::channel();
        if self.out.send(Out::Flush(sender)).is_ok() && flushed.recv().is_ok() {
            tracing::debug!("nobody sends here");
        }
    }

    /// `bytes` more were read or written.
    pub(crate) fn progress(&self, bytes: u64) {
        self.say(&Report::Progress(ByteCount(bytes)));
    }

    async fn ask(
        &self,
        body: Bytes,
        report: impl FnOnce(u32) -> Report,
    ) -> Result<Answer, AskError> {
        let question = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let frame = Frame::new(&report(question), body).map_err(PipeError::Frame)?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(question, sender);
        // The pipe is short and the parent always reads, so this waits for no answer.
        self.out.send(Out::Frame(frame)).map_err(|_gone| PipeError::Gone)?;
        match answer.await.map_err(|_gone| PipeError::Gone)? {
            (Order::Refused { why, transient, .. }, _) => Err(AskError::Refused { why, transient }),
            answer => Ok(answer),
        }
    }
}

fn deliver(waiting: &Waiting, order: Order, body: Bytes) {
    let asked = order.question();
    let asked = asked.and_then(|question| {
        waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&question)
    });
    if asked.is_some_and(|asked| asked.send((order, body)).is_err()) {
        tracing::debug!("an answer came for somebody who has given up");
    }
}

fn sink_error(error: AskError) -> SinkError {
    match error {
        AskError::Refused { why, transient } => SinkError::plain(why).transient(transient),
        AskError::Pipe(error) => SinkError::new("store what was read", error),
    }
}

fn source_error(error: AskError) -> SourceError {
    match error {
        AskError::Refused { why, transient } => SourceError::plain(why).transient(transient),
        AskError::Pipe(error) => SourceError::new("fetch what is to be written", error),
    }
}

#[async_trait]
impl PackSink for Remote {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        let ask = |question| Report::AskKnown { question, ids: ids.to_vec() };
        match self.ask(Bytes::new(), ask).await.map_err(sink_error)? {
            (Order::Known { known, .. }, _) if known.len() == ids.len() => Ok(known),
            _ => Err(SinkError::new("ask for known blobs", PipeError::OutOfPlace)),
        }
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        let entries = pack.entries.iter().map(Into::into).collect();
        let id = pack.id;
        let ask = |question| Report::PutPack { question, id, entries };
        match self.ask(pack.bytes, ask).await.map_err(sink_error)? {
            (Order::Stored { .. }, _) => Ok(()),
            _ => Err(SinkError::new("store a pack", PipeError::OutOfPlace)),
        }
    }
}

#[async_trait]
impl PackSource for Remote {
    async fn locate(&self, ids: &[BlobId]) -> Result<Vec<Option<BlobLocation>>, SourceError> {
        let ask = |question| Report::Locate { question, ids: ids.to_vec() };
        match self.ask(Bytes::new(), ask).await.map_err(source_error)? {
            (Order::Located { locations, .. }, _) if locations.len() == ids.len() => {
                Ok(locations.into_iter().map(|it| it.map(Into::into)).collect())
            }
            _ => Err(SourceError::new("locate blobs", PipeError::OutOfPlace)),
        }
    }

    async fn read_pack(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, SourceError> {
        let ask =
            |question| Report::ReadPack { question, pack, start: range.start, end: range.end };
        let wanted = range.end.saturating_sub(range.start);
        match self.ask(Bytes::new(), ask).await.map_err(source_error)? {
            (Order::Part { .. }, part) if u64::try_from(part.len()) == Ok(wanted) => Ok(part),
            _ => Err(SourceError::new("read a pack", PipeError::OutOfPlace)),
        }
    }
}

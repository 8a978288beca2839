//! Stream: a source of unknown length becomes content, once it is known to be whole.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read};
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;

use crate::id::BlobId;
use crate::writer::feed::Feed;
use crate::writer::work::{Job, Part};
use crate::writer::{Content, WriteError, Writer};

/// What is wanted of a stream besides its blobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// The SHA-256 of the whole; costs about as much as the rest of reading it.
    pub sha256: bool,
}

/// The parts of a stream that the workers have, in order.
#[derive(Default)]
struct Parts {
    waiting: VecDeque<oneshot::Receiver<Vec<BlobId>>>,
    blobs: Vec<BlobId>,
}

impl Writer {
    /// Reads `source` to its end and stores it.
    ///
    /// The end must mean that all is there: a source that learns otherwise at its end (the exit
    /// status of a dump) gives an error instead of it, or is written with [`Self::write_gated`].
    ///
    /// # Errors
    ///
    /// [`WriteError::Source`] when the source failed: there is no content then, and nothing of it
    /// can become part of a snapshot.
    ///
    /// # Cancel safety
    ///
    /// What a call that is dropped has read is stored but has no content.
    pub async fn write(
        &self,
        source: impl AsyncRead + Send + Unpin,
        options: StreamOptions,
    ) -> Result<Content, WriteError> {
        self.write_gated(source, options, async { Ok(()) }).await
    }

    /// Reads `source` to its end, then asks `gate` whether that was a good end.
    ///
    /// # Errors
    ///
    /// As [`Self::write`], and [`WriteError::Gate`] with what the gate said.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::write`].
    pub async fn write_gated(
        &self,
        mut source: impl AsyncRead + Send + Unpin,
        options: StreamOptions,
        gate: impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send,
    ) -> Result<Content, WriteError> {
        let (mut feed, mut parts) = (self.feed(options), Parts::default());
        loop {
            let count = match source.read(feed.space()).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WriteError::Source(error)),
            };
            feed.filled(count);
            self.shared.counters.bytes_read(count);
            if feed.is_full() {
                let part = feed.take(self.buffer());
                parts.waiting.push_back(self.send(part).await?);
                parts.drain();
            }
        }
        gate.await.map_err(WriteError::Gate)?;
        let (last, size, sha256) = feed.end();
        parts.waiting.push_back(self.send(last).await?);
        let blobs = parts.all().await.ok_or_else(|| self.shared.lost())?;
        self.whole(Content { blobs, size, sha256 })
    }

    /// [`Self::write`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn write_blocking(
        &self,
        mut source: impl Read,
        options: StreamOptions,
    ) -> Result<Content, WriteError> {
        let runtime = &self.shared.runtime;
        let (mut feed, mut parts) = (self.feed(options), Parts::default());
        loop {
            let count = match source.read(feed.space()) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WriteError::Source(error)),
            };
            feed.filled(count);
            self.shared.counters.bytes_read(count);
            if feed.is_full() {
                let part = feed.take(self.buffer());
                parts.waiting.push_back(runtime.block_on(self.send(part))?);
                parts.drain();
            }
        }
        let (last, size, sha256) = feed.end();
        parts.waiting.push_back(runtime.block_on(self.send(last))?);
        let blobs = runtime.block_on(parts.all()).ok_or_else(|| self.shared.lost())?;
        self.whole(Content { blobs, size, sha256 })
    }

    /// Gives out content, unless the run was spoilt meanwhile.
    fn whole(&self, content: Content) -> Result<Content, WriteError> {
        self.shared.check()?;
        self.shared.counters.file_read();
        Ok(content)
    }

    fn feed(&self, options: StreamOptions) -> Feed {
        Feed::new(self.shared.chunker.clone(), self.buffer(), options.sha256)
    }

    fn buffer(&self) -> Vec<u8> {
        let mut spare = self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    /// Gives a part to the workers, as soon as there is room for one more.
    async fn send(&self, part: Part) -> Result<oneshot::Receiver<Vec<BlobId>>, WriteError> {
        self.shared.check()?;
        let permit = Arc::clone(&self.shared.buffers).acquire_owned().await;
        let permit = permit.map_err(|_gone| WriteError::Gone)?;
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Chunks { part, reply, permit });
        sent.map_err(|_gone| WriteError::Gone)?;
        Ok(answer)
    }
}

impl Parts {
    /// Takes what is there, so that the list of waiting parts stays short.
    fn drain(&mut self) {
        while let Some(first) = self.waiting.front_mut() {
            let Ok(blobs) = first.try_recv() else { return };
            self.blobs.extend(blobs);
            self.waiting.pop_front();
        }
    }

    /// The blobs of all parts; `None` when a worker has given up.
    async fn all(mut self) -> Option<Vec<BlobId>> {
        for part in self.waiting {
            self.blobs.extend(part.await.ok()?);
        }
        Some(self.blobs)
    }
}

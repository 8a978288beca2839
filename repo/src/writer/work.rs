//! Work: what a worker thread does with what it is given.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::id::BlobId;
use crate::pack::builder::PackBuilder;
use crate::pack::{BlobKind, PackError, SealedPack};
use crate::writer::files::Files;
use crate::writer::trees::Trees;
use crate::writer::{Content, Shared, WriteError};

/// How many ids are asked for at once.
pub(super) const KNOWN_BATCH: usize = 256;

/// What a worker is given. The permit is for its memory.
pub(super) enum Job {
    /// A part of a stream.
    Chunks { part: Part, reply: oneshot::Sender<Vec<BlobId>>, permit: OwnedSemaphorePermit },
    /// Small files to be opened and read.
    Files { files: Files, permit: OwnedSemaphorePermit },
    /// Directories.
    Trees { trees: Trees, permit: OwnedSemaphorePermit },
}

/// A part of a stream: a buffer and where its chunks are.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) buffer: Vec<u8>,
    pub(super) chunks: Vec<Range<usize>>,
}

/// A worker thread.
pub(super) struct Worker {
    shared: Arc<Shared>,
    packs: Packs,
    /// Files are read into it.
    scratch: Vec<u8>,
}

/// A pack in the making and the way for finished ones.
pub(super) struct Packs {
    pub(super) kind: BlobKind,
    pub(super) builder: PackBuilder,
    pub(super) uploads: Sender<SealedPack>,
}

impl Worker {
    pub(super) fn new(
        shared: &Arc<Shared>,
        uploads: &Sender<SealedPack>,
    ) -> Result<Self, PackError> {
        let kind = BlobKind::Data;
        let builder = PackBuilder::new(&shared.cipher, shared.recipe(kind))?;
        let packs = Packs { kind, builder, uploads: uploads.clone() };
        Ok(Self { shared: Arc::clone(shared), packs, scratch: Vec::new() })
    }

    /// Works until nobody gives anything more, then uploads what is left.
    pub(super) fn run(mut self, todo: &Receiver<Job>) {
        for job in todo {
            let worked = match self.shared.check() {
                Ok(()) => self.work(job),
                Err(_) => continue, // dropping the job tells whoever waits for it
            };
            if let Err(error) = worked {
                self.shared.fail(error);
            }
        }
        if self.shared.check().is_ok()
            && let Err(error) = self.packs.flush()
        {
            self.shared.fail(error);
        }
    }

    fn work(&mut self, job: Job) -> Result<(), WriteError> {
        match job {
            Job::Chunks { part, reply, permit } => {
                let ids = self.chunks(&part)?;
                self.shared.give_back(part.buffer);
                drop(permit);
                drop(reply.send(ids));
            }
            Job::Files { files, permit } => {
                self.files(files)?;
                drop(permit);
            }
            Job::Trees { trees, permit } => {
                let pieces: Vec<_> =
                    trees.blobs.iter().map(|(id, json)| (*id, json.as_slice())).collect();
                let mut packs = trees.packs.lock().unwrap_or_else(PoisonError::into_inner);
                self.shared.store(&mut packs, &pieces)?;
                drop(packs);
                drop(permit);
            }
        }
        Ok(())
    }

    fn chunks(&mut self, part: &Part) -> Result<Vec<BlobId>, WriteError> {
        let pieces = part.chunks.iter().filter_map(|range| {
            let chunk = part.buffer.get(range.clone())?;
            Some((BlobId::of(chunk), chunk))
        });
        let pieces: Vec<_> = pieces.collect();
        self.shared.store(&mut self.packs, &pieces)?;
        Ok(pieces.iter().map(|(id, _)| *id).collect())
    }

    /// Reads files one after another into the scratch, and stores them together.
    fn files(&mut self, files: Files) -> Result<(), WriteError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let mut ends = Vec::with_capacity(files.reads.len());
        for read in files.reads {
            let start = scratch.len();
            match read(&mut scratch) {
                Ok(()) => ends.push(Ok(start..scratch.len().max(start))),
                Err(error) => {
                    scratch.truncate(start);
                    ends.push(Err(error));
                }
            }
        }
        self.shared.counters.bytes_read(scratch.len());
        let mut pieces = Vec::with_capacity(ends.len());
        let mut contents = Vec::with_capacity(ends.len());
        for end in ends {
            let content = end.map(|range| {
                self.shared.counters.file_read();
                let whole = scratch.get(range).unwrap_or_default();
                let size = u64::try_from(whole.len()).unwrap_or(u64::MAX);
                let mut blobs = Vec::new();
                for chunk in self.shared.chunker.split(whole) {
                    let id = BlobId::of(chunk);
                    blobs.push(id);
                    pieces.push((id, chunk));
                }
                Content { blobs, size, sha256: None }
            });
            contents.push(content);
        }
        self.shared.store(&mut self.packs, &pieces)?;
        drop(pieces);
        self.scratch = scratch;
        drop(files.reply.send(contents));
        Ok(())
    }
}

impl Packs {
    /// Finishes the pack in the making and hands it over.
    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        match self.builder.finish().map_err(WriteError::Pack)? {
            None => Ok(()),
            Some(pack) => self.uploads.send(pack).map_err(|_gone| WriteError::Gone),
        }
    }
}

impl Shared {
    /// Stores those of `pieces` that nobody has stored or is storing.
    pub(super) fn store(
        &self,
        packs: &mut Packs,
        pieces: &[(BlobId, &[u8])],
    ) -> Result<(), WriteError> {
        let mine: Vec<_> = pieces.iter().filter(|(id, _)| self.claims.claim(*id)).collect();
        self.counters.reused(pieces.len() - mine.len());
        for batch in mine.chunks(KNOWN_BATCH) {
            let ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
            let known = self.runtime.block_on(self.sink.known(&ids)).map_err(WriteError::Sink)?;
            if known.len() != ids.len() {
                let short = "ask which blobs are known: not every one was answered";
                return Err(WriteError::Sink(crate::sink::SinkError::plain(short)));
            }
            for ((id, plain), known) in batch.iter().zip(known) {
                if known {
                    self.counters.reused(1);
                    continue;
                }
                let packed = packs.builder.add(*id, plain).map_err(WriteError::Pack)?;
                self.counters.new_blob(packs.kind, plain.len(), packed);
                if packs.builder.is_full() {
                    packs.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Keeps a buffer for the next stream.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() <= self.options.workers {
            spare.push(buffer);
        }
    }
}

//! Feed: a stream on its way into buffers, cut as it arrives. It does no input itself.

use std::ops::Range;

use crate::chunker::{Chunker, MAX, Scan};
use crate::hash::Hasher;
use crate::writer::work::Part;

/// The size of a buffer: the largest chunk fits.
const BUFFER: usize = MAX;

/// How much is read at once: what was read is looked at while the processor still has it at hand.
const READ: usize = 256 << 10;

/// A stream being cut.
pub(super) struct Feed {
    chunker: Chunker,
    scan: Scan,
    buffer: Vec<u8>,
    /// Where the chunk begins that is not cut yet.
    start: usize,
    /// Where the data ends.
    end: usize,
    chunks: Vec<Range<usize>>,
    size: u64,
    hasher: Option<Hasher>,
}

impl Feed {
    /// An empty stream that fills `buffer` first; its whole is hashed only if wanted.
    pub(super) fn new(chunker: Chunker, buffer: Vec<u8>, sha256: bool) -> Self {
        Self {
            chunker,
            scan: Scan::default(),
            buffer: sized(buffer),
            start: 0,
            end: 0,
            chunks: Vec::new(),
            size: 0,
            hasher: sha256.then(Hasher::default),
        }
    }

    /// Where the next bytes go; never empty after [`Self::is_full`] has said no.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let to = self.buffer.len().min(self.end + READ);
        self.buffer.get_mut(self.end..to).unwrap_or_default()
    }

    /// Takes in the first `count` bytes of the space.
    pub(super) fn filled(&mut self, count: usize) {
        let from = self.end;
        self.end = self.buffer.len().min(from + count);
        self.size += u64::try_from(self.end - from).unwrap_or(0);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(self.buffer.get(from..self.end).unwrap_or_default());
        }
        loop {
            let chunk = self.buffer.get(self.start..self.end).unwrap_or_default();
            let Some(size) = self.chunker.cut(&mut self.scan, chunk) else { break };
            self.chunks.push(self.start..self.start + size);
            self.start += size;
        }
    }

    /// Whether [`Self::take`] is due before more is read.
    pub(super) fn is_full(&self) -> bool {
        self.end == self.buffer.len()
    }

    /// The chunks so far with their buffer; the stream goes on in `next`.
    pub(super) fn take(&mut self, next: Vec<u8>) -> Part {
        let mut next = sized(next);
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        if let Some(head) = next.get_mut(..rest.len()) {
            head.copy_from_slice(rest);
        }
        self.end -= self.start;
        self.start = 0;
        let buffer = std::mem::replace(&mut self.buffer, next);
        Part { buffer, chunks: std::mem::take(&mut self.chunks) }
    }

    /// What is left at the end of the stream, with its size and SHA-256.
    pub(super) fn end(mut self) -> (Part, u64, Option<[u8; 32]>) {
        if self.start < self.end {
            self.chunks.push(self.start..self.end);
        }
        let sha256 = self.hasher.as_mut().map(Hasher::finish);
        (Part { buffer: self.buffer, chunks: self.chunks }, self.size, sha256)
    }
}

fn sized(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.is_empty() {
        return vec![0; BUFFER]; // from the system already zero, and not in memory until it is used
    }
    buffer.resize(BUFFER, 0);
    buffer
}
